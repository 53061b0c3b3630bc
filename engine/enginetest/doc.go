// Package enginetest opens databases for tests: in memory, with a consistency check at the end of each test.
//
//	func TestEnrol(t *testing.T) {
//		db := enginetest.Open(t, app.Schema())
//		err := db.Update(t.Context(), func(tx *engine.Tx) error { … })
//	}
package enginetest
