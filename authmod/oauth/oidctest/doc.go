// Package oidctest is a provider of OpenID Connect for tests: the certified implementation github.com/zitadel/oidc with its
// storage in memory, people with passwords, and a page to sign in at. Its tests hold package oauth against it, over HTTP, with
// a client that keeps cookies and fills in the page as a browser does.
//
// It is a module of its own, so that programs built on Mimosa do not depend on the provider. It is for tests alone: its
// people's passwords are known to everybody.
package oidctest
