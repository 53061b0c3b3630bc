package subscriptions

import (
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/engine/storage"
	"github.com/mimosadb/mimosa/subscriptions/wire"
)

// endpoint is one kind of call over HTTP.
type endpoint struct {
	shape wire.ArgsShape
	run   func(*Server, engine.Call) (*engine.Result, error)
	atTS  bool
}

var endpoints = map[string]endpoint{
	"query": {run: func(s *Server, c engine.Call) (*engine.Result, error) { return s.db.RunQuery(s.ctx, c) }},
	// A call goes on when the client has gone: the server's context, not the request's.
	"mutation":    {run: func(s *Server, c engine.Call) (*engine.Result, error) { return s.db.RunMutation(s.ctx, c) }},
	"action":      {run: func(s *Server, c engine.Call) (*engine.Result, error) { return s.db.RunAction(s.ctx, c) }},
	"function":    {run: func(s *Server, c engine.Call) (*engine.Result, error) { return s.db.Run(s.ctx, c) }, shape: wire.ArgsObject},
	"query_at_ts": {atTS: true},
}

// serveCall answers the calls over HTTP.
func (s *Server) serveCall(w http.ResponseWriter, r *http.Request, name string) {
	e, known := endpoints[name]
	if !known && name != "query_ts" {
		refuse(w, http.StatusNotFound, engine.CodeNotFound, "there is nothing here")
		return
	}
	if !s.allowOrigin(w, r) {
		refuse(w, http.StatusForbidden, engine.CodeForbidden, "this origin may not call")
		return
	}
	switch r.Method {
	case http.MethodOptions:
		preflight(w)
		return
	case http.MethodPost:
	default:
		w.Header().Set("Allow", "POST, OPTIONS")
		refuse(w, http.StatusMethodNotAllowed, engine.CodeInvalid, "calls are POST requests")
		return
	}
	if name == "query_ts" {
		reply(w, http.StatusOK, wire.AppendQueryTS(nil, wire.Timestamp(s.live.now())))
		return
	}
	call, ok := s.readCall(w, r, e)
	if !ok {
		return
	}
	p, err := s.bearer(r)
	if err != nil {
		s.refuseToken(w, err)
		return
	}
	if call.Component != "" {
		s.answerCall(w, &wire.HTTPResult{Failure: noComponents()})
		return
	}
	ec := engine.Call{Function: call.Path, Args: call.Args, Principal: p, Remote: s.remote(r)}
	if e.atTS {
		s.queryAt(w, engine.Timestamp(*call.TS), ec)
		return
	}
	res, err := e.run(s, ec)
	out := &wire.HTTPResult{Value: res.Value, LogLines: s.logLines(res.Log)}
	if err != nil {
		out.Failure = failure(err)
	}
	s.answerCall(w, out)
}

// readCall reads the body of a call, and refuses the request if it is none.
func (s *Server) readCall(w http.ResponseWriter, r *http.Request, e endpoint) (*wire.HTTPCall, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(s.o.MaxFrame)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		refuse(w, http.StatusRequestEntityTooLarge, engine.CodeTooLarge, "the body is too large")
		return nil, false
	case err != nil:
		refuse(w, http.StatusBadRequest, engine.CodeInvalid, "the body could not be read")
		return nil, false
	}
	call, err := wire.DecodeHTTPCall(body, e.shape, s.limits)
	if err == nil && e.atTS && call.TS == nil {
		err = &wire.Error{Reason: wire.MissingField, Field: "ts"}
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, engine.CodeInvalid, err.Error())
		return nil, false
	}
	return call, true
}

// bearer returns whom a request acts as.
func (s *Server) bearer(r *http.Request) (engine.Principal, error) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return nil, nil
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, engine.Errorf(engine.CodeUnauthenticated, "only bearer tokens are accepted")
	}
	return s.confirmed(strings.TrimSpace(token))
}

// refuseToken answers a request whose token was not accepted. That it cannot be checked just now says nothing against it.
func (s *Server) refuseToken(w http.ResponseWriter, err error) {
	var coded *engine.Error
	if !errors.As(err, &coded) {
		coded = engine.Errorf(engine.CodeUnauthenticated, "%s", s.authText(err))
	}
	status := http.StatusUnauthorized
	switch coded.Code {
	case engine.CodeBusy:
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "1")
	case engine.CodeInternal:
		status = http.StatusInternalServerError
	default:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	reply(w, status, failure(coded).Data)
}

// queryAt answers a query as of a timestamp that query_ts gave a little while ago.
func (s *Server) queryAt(w http.ResponseWriter, ts engine.Timestamp, c engine.Call) {
	if ts > s.live.now() {
		refuse(w, http.StatusBadRequest, engine.CodeInvalid, "ts lies in the future")
		return
	}
	e, err := s.db.Evaluate(s.ctx, ts, c)
	out := &wire.HTTPResult{}
	switch {
	case errors.Is(err, storage.ErrTooOld):
		refuse(w, http.StatusBadRequest, engine.CodeInvalid, "ts is older than what is kept")
		return
	case err != nil:
		out.Failure = failure(err)
	case e.Err != nil:
		out.Failure, out.LogLines = failure(e.Err), s.logLines(e.Log)
	default:
		out.Value, out.LogLines = e.Value, s.logLines(e.Log)
	}
	s.answerCall(w, out)
}

func (s *Server) answerCall(w http.ResponseWriter, r *wire.HTTPResult) {
	status := http.StatusOK
	if r.Failure != nil {
		status = wire.StatusFailed
	}
	reply(w, status, r.Append(nil))
}

// refuse answers a request that did not get as far as a function.
func refuse(w http.ResponseWriter, status int, c engine.Code, message string) {
	reply(w, status, (&wire.ErrorData{Code: string(c), Message: message}).Append(nil))
}

func reply(w http.ResponseWriter, status int, body []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone is no matter
}
