// Package storagetest is the suite that every store of package storage passes.
//
// A store's own test hands it a way to make fresh databases:
//
//	func TestStore(t *testing.T) {
//		storagetest.Run(t, func(t *testing.T) storagetest.Harness {
//			clock := storagetest.NewClock()
//			dir := t.TempDir()
//			return storagetest.Harness{
//				Clock: clock,
//				Open:  func() (storage.Store, error) { return mystore.Open(mystore.Options{Dir: dir, Clock: clock.Now}) },
//			}
//		})
//	}
//
// It covers what a caller can see through the interface: snapshots at exact timestamps, scans both ways, groups whole or not
// at all, the log, timestamps that never go back, Compact, Close, use from many goroutines. It does not cover what happens
// when a process or a machine dies, which only the store's own tests can bring about, nor how fast anything is.
package storagetest
