// Package history checks recorded histories of transactions for strict serializability.
//
// A transaction appends unique values to lists and reads whole lists. Since every list remembers the order of its appends,
// who came before whom can be read off the lists (the idea of Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from
// Experimental Observations", VLDB 2020): the writer of a value comes before the writer of the next one (ww) and before
// whoever read it (wr), and a reader comes before the writer of the first value that it did not see (rw). What had been
// answered before something else was sent comes first, too (rt). A history is strictly serializable only if these edges make
// no cycle.
//
//	var h history.Recorder
//	t := h.Begin(client)
//	… run it …
//	h.Commit(t, ops)
//	for _, a := range history.Check(h.Transactions()) { … }
//
// The check finds anomalies; that it finds none does not prove that there are none. Only what was observed counts, so a
// history ends by reading every list.
package history
