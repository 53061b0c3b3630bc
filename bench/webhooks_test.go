package bench_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mimosadb/mimosa/authmod"
	"github.com/mimosadb/mimosa/authmod/webhook"
	"github.com/mimosadb/mimosa/engine"
	"github.com/mimosadb/mimosa/triggers"
)

type webhookUser struct {
	authmod.UserFields
}

type webhookNote struct {
	User engine.ID[webhookUser] `json:"user"`
}

// BenchmarkWebhooks is a service that delivers, over 32 connections: the creation of users, each a commit with what a trigger
// writes, and deliveries that are forged, which cost no commit.
func BenchmarkWebhooks(b *testing.B) {
	for _, forged := range []bool{false, true} {
		b.Run(map[bool]string{false: "created", true: "forged"}[forged], func(b *testing.B) {
			url, key := webhookServer(b)
			if forged {
				key = []byte("the key of somebody else, who has none")
			}
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
			defer client.CloseIdleConnections()
			want := map[bool]int{false: http.StatusOK, true: http.StatusUnauthorized}[forged]
			var n atomic.Int64
			b.SetParallelism(16)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if status, err := deliverWebhook(client, url, key, n.Add(1)); err != nil || status != want {
						b.Errorf("%d %v, want %d", status, err, want)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

func webhookServer(b *testing.B) (url string, key []byte) {
	key = []byte("a key of thirty-two bytes or more")
	s := engine.NewSchema()
	users := engine.Define[webhookUser](s, "users")
	notes := engine.Define[webhookNote](s, "notes")
	auth := authmod.New(s, users, authmod.Options{Modules: []authmod.Module{webhook.Clerk(webhook.Options{
		Secrets: []string{"whsec_" + base64.StdEncoding.EncodeToString(key)},
		Users: authmod.NewMapping(func(in webhook.ClerkUser, u *webhookUser) error {
			u.UserFields = in.Fields()
			return nil
		}),
	})}})
	triggers.OnCreate(users, "note", func(tx *engine.Tx, u *engine.Doc[webhookUser]) error {
		_, err := notes.Insert(tx, webhookNote{u.ID})
		return err
	})
	db, err := engine.Open(s, engine.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	server := httptest.NewServer(auth.Handler())
	b.Cleanup(func() {
		server.Close()
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	return server.URL + "/api/auth/clerk-webhook", key
}

// deliverWebhook delivers the creation of user n, as Clerk does.
func deliverWebhook(client *http.Client, url string, key []byte, n int64) (status int, err error) {
	now := time.Now()
	id, stamp := fmt.Sprint("msg_", n), strconv.FormatInt(now.Unix(), 10)
	body := fmt.Appendf(nil, `{"object":"event","type":"user.created","timestamp":%d,"data":{"object":"user","id":"user_%d",`+
		`"first_name":"Ada","last_name":"Lovelace","primary_email_address_id":"idn_1","email_addresses":[{"id":"idn_1",`+
		`"email_address":"ada%d@example.com","verification":{"status":"verified"}}],"updated_at":%d}}`,
		now.UnixMilli(), n, n, now.UnixMilli())
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body) // a hash takes everything
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header = http.Header{
		"Svix-Id": {id}, "Svix-Timestamp": {stamp},
		"Svix-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}
