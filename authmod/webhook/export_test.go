package webhook

// What tests of forgetting look at.
const (
	FnPrune   = fnPrune
	MaxPruned = maxPruned
	MaxLines  = maxLines
)
