package webhook

import "github.com/mimosadb/mimosa/authmod/internal/fewlines"

// What tests of forgetting look at.
const (
	FnPrune   = fnPrune
	MaxPruned = maxPruned
	MaxLines  = fewlines.PerMinute
)
