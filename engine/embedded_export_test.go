package engine

// EmbeddedOptions is what the default store is opened with.
var EmbeddedOptions = embeddedOptions
