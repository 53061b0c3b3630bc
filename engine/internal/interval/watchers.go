package interval

import "slices"

const (
	// Up to so many watchers of one range are searched in a row, which is faster than a hash and far smaller: most ranges
	// have one watcher, and there may be 100,000 of them.
	maxPlain = 128
	// Below so many the hash is dropped again. The gap keeps a number that swings around one mark from rebuilding it.
	minHashed = maxPlain / 2
)

// watchers is the set of those who watch one range, each with how often it was added. They are kept in a slice, so that
// yielding them is fast and in an order that depends on nothing but the calls made.
type watchers[W comparable] struct {
	list []watch[W]
	at   map[W]int32 // position in list, when there are many
}

type watch[W comparable] struct {
	who   W
	times uint32
}

func (ws *watchers[W]) find(w W) int {
	if ws.at != nil {
		if i, ok := ws.at[w]; ok {
			return int(i)
		}
		return -1
	}
	return slices.IndexFunc(ws.list, func(x watch[W]) bool { return x.who == w })
}

func (ws *watchers[W]) add(w W) {
	if i := ws.find(w); i >= 0 {
		ws.list[i].times++
		return
	}
	ws.list = append(ws.list, watch[W]{w, 1})
	switch {
	case ws.at != nil:
		ws.at[w] = int32(len(ws.list) - 1)
	case len(ws.list) > maxPlain:
		ws.at = make(map[W]int32, 2*len(ws.list))
		for i, x := range ws.list {
			ws.at[x.who] = int32(i)
		}
	}
}

// remove takes back one add of w. It tells whether nobody is left.
func (ws *watchers[W]) remove(w W) (empty bool) {
	i := ws.find(w)
	if i < 0 {
		return len(ws.list) == 0
	}
	if ws.list[i].times--; ws.list[i].times > 0 {
		return false
	}
	last := len(ws.list) - 1
	ws.list[i] = ws.list[last]
	ws.list[last] = watch[W]{}
	ws.list = ws.list[:last]
	if ws.at != nil {
		delete(ws.at, w)
		if i < last {
			ws.at[ws.list[i].who] = int32(i)
		}
		if last < minHashed {
			// A range that was crowded once gives its memory back.
			ws.at, ws.list = nil, slices.Clone(ws.list)
		}
	}
	return last == 0
}

// each yields the watchers, and tells whether it was let to the end.
func (ws *watchers[W]) each(yield func(W) bool) bool {
	for i := range ws.list {
		if !yield(ws.list[i].who) {
			return false
		}
	}
	return true
}
