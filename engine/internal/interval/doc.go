// Package interval holds sets of key ranges: what a transaction has read, and who is to be told when a key is written.
//
// A [Set] is a read set: half-open ranges of byte keys, kept sorted and disjoint.
//
//	var reads interval.Set
//	reads.AddPoint(documentKey)            // a read of one key, found or not
//	reads.Add(scanFrom, lastYielded)       // a scan
//	conflict := reads.Contains(writtenKey)
//
// An [Index] holds the sets of many watchers and answers which of them a written key touches:
//
//	index := interval.NewIndex[QueryID](indexPrefixLen, seed)
//	index.Add(&reads, query)
//	index.Touch(writtenKey, func(q QueryID) bool { rerun(q); return true })
//
// # Bounds
//
// A range [lo, hi) holds the keys k with lo <= k and k < hi, compared as bytes.Compare does. A nil hi is no upper bound, a
// nil lo is the empty key, below which there is nothing. A range with lo >= hi holds no key and is ignored; so is one
// whose hi is empty but not nil, since no key is below the empty key. A point is the range [k, k+"\x00"), which holds k
// and no other key: a range given with these bounds and a point are the same thing.
//
// # Cost
//
// Of n ranges: Contains takes O(log n). Touch takes one hash look-up for points and at most 33 for ranges, usually two or
// three, and then O((1 + k) log m), where m is the number of ranges that begin like the key and k how many distinct ones of
// them hold it, and time in proportion to the watchers it yields. Equal ranges are stored once, however many watch them.
// Nothing takes time in proportion to the ranges that do not hold the key.
//
// # What it does not promise
//
// Set and Index do not know what a key means, and keep nothing of the order in which ranges were added. A Set whose ranges
// meet or overlap keeps their union, so it cannot tell which reads it was made of.
package interval
