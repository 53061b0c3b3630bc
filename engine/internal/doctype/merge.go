package doctype

import "bytes"

// Merge gives the document that an update stores: encoded, which is Encode of the changed value, together with the members of
// stored that the Go type does not know. Members are unknown where a struct stands, at any depth and in the values of maps, but
// not inside arrays, whose elements have no identity. A member that the type knows and that encoded lacks is gone. The members
// _id and _creationTime of stored are left out; WithSystem adds them. The error is a *ValueError if either is not JSON.
func (t *Type) Merge(stored, encoded []byte) ([]byte, error) {
	for _, raw := range [2][]byte{stored, encoded} {
		s := scanner{data: raw}
		if err := s.skip(0); err != nil {
			return nil, err
		}
		if !s.end() {
			return nil, syntaxErr()
		}
	}
	return merge(make([]byte, 0, max(len(stored), len(encoded))), t.root, stored, encoded, true), nil
}

func merge(dst []byte, n *node, stored, encoded []byte, root bool) []byte {
	for n.kind == kindPointer {
		n = n.elem
	}
	st, okS := members(stored)
	en, okE := members(encoded)
	if n.kind != kindStruct && n.kind != kindMap || !okS || !okE {
		return append(dst, bytes.TrimSpace(encoded)...)
	}
	dst = append(dst, '{')
	first := true
	put := func(name []byte) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendString(dst, view(name)), ':')
	}
	for _, m := range en.list {
		put(m.name)
		old, both := st.find(m.name)
		if inner := n.member(m.name); both && inner != nil {
			dst = merge(dst, inner, old, m.value, false)
		} else {
			dst = append(dst, m.value...)
		}
	}
	if n.kind == kindStruct {
		for _, m := range st.list {
			if n.member(m.name) != nil || root && (string(m.name) == memberID || string(m.name) == memberCreated) {
				continue
			}
			if _, both := en.find(m.name); !both {
				put(m.name)
				dst = append(dst, m.value...)
			}
		}
	}
	return append(dst, '}')
}

// member gives the node of a member's value, nil if the type does not know the member.
func (n *node) member(name []byte) *node {
	if n.kind == kindMap {
		return n.elem
	}
	if f := n.field(name); f != nil {
		return f.node
	}
	return nil
}

// rawMembers is what an object holds, in its order.
type rawMembers struct {
	list   []rawMember
	byName map[string]int // only of large objects
	next   int            // where find looks first: both sides mostly come in the same order
}

type rawMember struct{ name, value []byte }

// members lists what an object holds; false if raw is no object, or a special one.
func members(raw []byte) (m rawMembers, ok bool) {
	s := scanner{data: raw}
	if _, _, special := s.special(); special || !s.open('{') {
		return m, false
	}
	for first := true; ; first = false {
		name, more, ok := s.member(first)
		if !ok {
			return m, false
		}
		if !more {
			break
		}
		value, err := s.span(0)
		if err != nil {
			return m, false
		}
		m.list = append(m.list, rawMember{name, value})
	}
	if len(m.list) > 32 {
		m.byName = make(map[string]int, len(m.list))
		for i, one := range m.list {
			m.byName[string(one.name)] = i
		}
	}
	return m, true
}

func (m *rawMembers) find(name []byte) ([]byte, bool) {
	if m.next < len(m.list) && bytes.Equal(m.list[m.next].name, name) {
		m.next++
		return m.list[m.next-1].value, true
	}
	if m.byName != nil {
		i, ok := m.byName[string(name)]
		if !ok {
			return nil, false
		}
		m.next = i + 1
		return m.list[i].value, true
	}
	for i := range m.list {
		if bytes.Equal(m.list[i].name, name) {
			m.next = i + 1
			return m.list[i].value, true
		}
	}
	return nil, false
}
