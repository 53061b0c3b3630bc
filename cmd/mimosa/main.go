package main

import (
	"embed"
	"io/fs"

	"github.com/mimosadb/mimosa/cmd"
)

//go:embed web
var web embed.FS

func main() {
	page, err := fs.Sub(web, "web")
	if err != nil { // only for a name that is not a path
		panic(err)
	}
	s := newSchool()
	cmd.Main(cmd.App{
		Name: "mimosa", About: "A small school on Mimosa, the reactive document database.",
		Schema: s.schema, Auth: s.auth, Seed: s.seed, Static: page,
	})
}
