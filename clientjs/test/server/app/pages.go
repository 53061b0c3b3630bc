package main

import (
	"github.com/mimosadb/mimosa/engine"
)

// Row is one row of a list that is read page by page, in the order of its ranks.
type Row struct {
	List string `json:"list"`
	Rank int    `json:"rank"`
}

type rowsArgs struct {
	List string `json:"list"`
	// Desc turns the order round.
	Desc bool `json:"desc,omitempty"`
	// Floor names a counter: rows of smaller rank than its value are not in the list.
	Floor string `json:"floor,omitempty"`
	// MostRows is how many rows a page may read.
	MostRows int `json:"mostRows,omitempty"`
}

type rowsPageArgs struct {
	rowsArgs
	Page engine.PageArgs `json:"paginationOpts"`
}

type ranksArgs struct {
	List  string `json:"list"`
	Ranks []int  `json:"ranks"`
}

type rerankArgs struct {
	List string `json:"list"`
	From int    `json:"from"`
	To   int    `json:"to"`
}

// registerPages adds lists that are read in pages, and the same lists as a whole.
func (a *app) registerPages() {
	rows := engine.Define[Row](a.schema, "rows")
	byRank := rows.AddIndex("byRank", "list", "rank")

	scan := func(tx *engine.ReadTx, in rowsArgs) (*engine.Scan[Row], error) {
		s := byRank.Eq(tx, in.List)
		if in.Floor != "" {
			floor, err := a.get(tx, nameArgs{Name: in.Floor})
			if err != nil {
				return nil, err
			}
			s = s.Gte(floor)
		}
		if in.Desc {
			s = s.Desc()
		}
		return s, nil
	}
	rank := func(r *engine.Doc[Row]) (int, error) { return r.Value.Rank, nil }

	engine.Query(a.schema, "rows:page", func(tx *engine.ReadTx, in rowsPageArgs) (engine.Page[int], error) {
		s, err := scan(tx, in.rowsArgs)
		if err != nil {
			return engine.Page[int]{}, err
		}
		in.Page.MaximumRowsRead = in.MostRows
		p, err := s.Paginate(in.Page)
		if err != nil {
			return engine.Page[int]{}, err
		}
		return engine.MapPage(p, rank)
	})
	engine.Query(a.schema, "rows:all", func(tx *engine.ReadTx, in rowsArgs) ([]int, error) {
		s, err := scan(tx, in)
		if err != nil {
			return nil, err
		}
		var ranks []int
		for r, err := range s.Docs() {
			if err != nil {
				return nil, err
			}
			ranks = append(ranks, r.Value.Rank)
		}
		return ranks, nil
	})
	engine.Mutation(a.schema, "rows:add", func(tx *engine.Tx, in ranksArgs) (struct{}, error) {
		for _, r := range in.Ranks {
			if _, err := rows.Insert(tx, Row{in.List, r}); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
	engine.Mutation(a.schema, "rows:remove", func(tx *engine.Tx, in ranksArgs) (struct{}, error) {
		for _, r := range in.Ranks {
			for d, err := range byRank.Eq(tx, in.List, r).Docs() {
				if err != nil {
					return struct{}{}, err
				}
				if err := rows.Delete(tx, d.ID); err != nil {
					return struct{}{}, err
				}
			}
		}
		return struct{}{}, nil
	})
	engine.Mutation(a.schema, "rows:rerank", func(tx *engine.Tx, in rerankArgs) (struct{}, error) {
		for d, err := range byRank.Eq(tx, in.List, in.From).Docs() {
			if err != nil {
				return struct{}{}, err
			}
			if err := rows.Patch(tx, d.ID, func(r *Row) error { r.Rank = in.To; return nil }); err != nil {
				return struct{}{}, err
			}
		}
		return struct{}{}, nil
	})
}
