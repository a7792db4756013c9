package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"postern"
	"postern/internal/approval/notify"
)

const signingSecret = "8f742231b10e8888abcd99yyyzzz85a5"

func dora() postern.Identity {
	return postern.Identity{Name: "dora", Kind: postern.User, Groups: []string{"dba"}}
}

// payload is a click as Slack sends it.
func payload(user, team, action, value, responseURL string) string {
	text, _ := json.Marshal(map[string]any{
		"type": "block_actions", "user": map[string]any{"id": user, "username": "x", "team_id": team}, "team": map[string]any{"id": team, "domain": "x"},
		"api_app_id": "A1", "trigger_id": "1.2.3", "response_url": responseURL,
		"actions": []map[string]any{{"type": "button", "action_id": action, "block_id": "postern", "value": value, "action_ts": "1.2"}},
	})
	return "payload=" + url.QueryEscape(string(text))
}

// sign signs as Slack's documentation says.
func sign(secret string, at time.Time, body string) http.Header {
	stamp := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("v0:" + stamp + ":" + body))
	h := http.Header{}
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	h.Set("X-Slack-Request-Timestamp", stamp)
	h.Set("X-Slack-Signature", "v0="+hex.EncodeToString(mac.Sum(nil)))
	return h
}

type slackDesk struct {
	*desk
	peer *peer
}

func newSlackDesk(t *testing.T) *slackDesk {
	t.Helper()
	p := newPeer(t)
	channel := notify.Channel{
		Name: "dba", Kind: notify.Slack, URL: secret(p.URL + "/services/T1"), Secret: secret(signingSecret), Roots: p.roots(), Team: "T1", ShowCommands: true,
		People: map[string]string{"UDORA": "user:dora", "UALICE": "user:alice", "UGONE": "user:gone"},
	}
	teams := notify.Channel{Name: "teams", Kind: notify.Teams, URL: secret(p.URL + "/teams"), Roots: p.roots()}
	mute := channel
	mute.Name, mute.Secret = "mute", nil
	return &slackDesk{newDesk(t, channel, teams, mute), p}
}

func (d *slackDesk) post(t *testing.T, path, body string, h http.Header) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, strings.NewReader(body))
	r.Header = h
	w := httptest.NewRecorder()
	d.Clicks().ServeHTTP(w, r)
	d.Answer(t.Context())
	return w.Code
}

func (d *slackDesk) state(t *testing.T, id string) postern.Review {
	t.Helper()
	rv, err := d.db.Review(t.Context(), id)
	ok(t, err)
	return rv
}

const home = notify.SlackPath + "dba"

func TestClickApproves(t *testing.T) {
	d := newSlackDesk(t)
	d.submit(t, open("rv_1", d.now))
	// The button that was sent is the one that is clicked.
	var value string
	var sent []byte
	for i, body := range d.peer.got(t, 3) {
		if d.peer.requests[i].URL.Path == "/services/T1" && strings.Contains(string(body), "postern_approve") {
			sent = body
		}
	}
	for _, b := range blockKit(t, sent).list("blocks", 1, 50) {
		if b.obj["type"] == "actions" {
			for _, e := range b.list("elements", 1, 25) {
				if e.obj["action_id"] == "postern_approve" {
					value = e.text("value", 2000)
				}
			}
		}
	}
	body := payload("UDORA", "T1", "postern_approve", value, d.peer.URL+"/actions/1")
	if code := d.post(t, home, body, sign(signingSecret, d.now, body)); code != http.StatusOK {
		t.Fatalf("answered %d", code)
	}
	rv := d.state(t, "rv_1")
	if rv.State != postern.ReviewApproved || len(rv.Votes) != 1 || rv.Votes[0].By != "dora" || !strings.Contains(rv.Votes[0].Reason, "Slack") {
		t.Fatalf("%+v", rv)
	}
	last := d.peer.requests[len(d.peer.requests)-1]
	answer := string(d.peer.bodies[len(d.peer.bodies)-1])
	if last.URL.Path != "/actions/1" || !strings.Contains(answer, "rv_1 is approved") || !strings.Contains(answer, "ephemeral") {
		t.Errorf("answered %s at %s", answer, last.URL.Path)
	}
}

// Nothing that isn't a fresh click of an approver at exactly what was shown
// approves anything.
func TestClicksThatApproveNothing(t *testing.T) {
	value := "rv_1|digest-of-rv_1"
	approve := func(user string) string { return payload(user, "T1", "postern_approve", value, "") }
	genuine := approve("UDORA")
	for name, c := range map[string]struct {
		path, body string
		header     func(now time.Time, body string) http.Header
		code       int
		says       string // to whoever clicked
	}{
		"forged":       {home, genuine, func(now time.Time, b string) http.Header { return sign("another secret", now, b) }, 401, ""},
		"empty secret": {home, genuine, func(now time.Time, b string) http.Header { return sign("", now, b) }, 401, ""},
		"altered":      {home, genuine, func(now time.Time, b string) http.Header { return sign(signingSecret, now, b+"&x=1") }, 401, ""},
		"stale": {home, genuine, func(now time.Time, b string) http.Header {
			return sign(signingSecret, now.Add(-5*time.Minute-2*time.Second), b)
		}, 401, ""},
		"of the future": {home, genuine, func(now time.Time, b string) http.Header {
			return sign(signingSecret, now.Add(5*time.Minute+2*time.Second), b)
		}, 401, ""},
		"unsigned": {home, genuine, func(time.Time, string) http.Header {
			return http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		}, 401, ""},
		"fresh time, old signature": {home, genuine, func(now time.Time, b string) http.Header {
			h := sign(signingSecret, now.Add(-time.Hour), b)
			h.Set("X-Slack-Request-Timestamp", strconv.FormatInt(now.Unix(), 10))
			return h
		}, 401, ""},
		"signature in capitals": {home, genuine, func(now time.Time, b string) http.Header {
			h := sign(signingSecret, now, b)
			h.Set("X-Slack-Signature", strings.ToUpper(h.Get("X-Slack-Signature")))
			return h
		}, 401, ""},
		"as JSON": {home, `{"payload": "x"}`, func(now time.Time, b string) http.Header {
			h := sign(signingSecret, now, b)
			h.Set("Content-Type", "application/json")
			return h
		}, 401, ""},
		"huge":              {home, "payload=" + strings.Repeat("x", 200<<10), nil, 401, ""},
		"no payload":        {home, "x=1", nil, 401, ""},
		"another channel":   {notify.SlackPath + "none", genuine, nil, 404, ""},
		"channel of Teams":  {notify.SlackPath + "teams", genuine, nil, 404, ""},
		"without a secret":  {notify.SlackPath + "mute", genuine, nil, 404, ""},
		"no channel":        {notify.SlackPath, genuine, nil, 404, ""},
		"somebody unknown":  {home, approve("UEVE"), nil, 200, "doesn't know you"},
		"nobody":            {home, approve(""), nil, 200, "doesn't know you"},
		"who asked":         {home, approve("UALICE"), nil, 200, "nobody decides over their own"},
		"who was disabled":  {home, approve("UGONE"), nil, 200, "may not act"},
		"another workspace": {home, payload("UDORA", "T2", "postern_approve", value, ""), nil, 200, "may not decide here"},
		"another digest":    {home, payload("UDORA", "T1", "postern_approve", "rv_1|digest-of-rv_2", ""), nil, 200, "something else"},
		"no digest":         {home, payload("UDORA", "T1", "postern_approve", "rv_1", ""), nil, 200, "isn't one of ours"},
		"empty digest":      {home, payload("UDORA", "T1", "postern_approve", "rv_1|", ""), nil, 200, "something else"},
		"no such review":    {home, payload("UDORA", "T1", "postern_approve", "rv_9|x", ""), nil, 200, "no such review"},
		"a link":            {home, payload("UDORA", "T1", "postern_open", value, ""), nil, 200, ""},
		"another action":    {home, payload("UDORA", "T1", "approve", value, ""), nil, 200, ""},
		"another event":     {home, strings.Replace(genuine, "block_actions", "view_submission", 1), nil, 200, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := newSlackDesk(t)
			d.submit(t, open("rv_1", d.now))
			c.body = strings.Replace(c.body, url.QueryEscape(`"response_url":""`), url.QueryEscape(`"response_url":"`+d.peer.URL+`/r"`), 1)
			if c.header == nil {
				c.header = func(now time.Time, b string) http.Header { return sign(signingSecret, now, b) }
			}
			before := len(d.peer.got(t, 3))
			if code := d.post(t, c.path, c.body, c.header(d.now, c.body)); code != c.code {
				t.Errorf("answered %d, want %d", code, c.code)
			}
			if rv := d.state(t, "rv_1"); rv.State != postern.ReviewPending || len(rv.Votes) != 0 {
				t.Fatalf("it counted: %+v", rv)
			}
			answers := d.peer.bodies[before:]
			switch {
			case c.says == "" && len(answers) > 0:
				t.Errorf("answered %s", answers[0])
			case c.says != "" && (len(answers) != 1 || !strings.Contains(string(answers[0]), c.says)):
				t.Errorf("answered %s, want %q", answers, c.says)
			case c.code == 401 && !strings.Contains(d.log.String(), "refused"):
				t.Errorf("logged %q", d.log.String())
			}
		})
	}
}

// The same click again is refused, here and at another gateway, also when its
// first vote was one of several.
func TestReplayedClick(t *testing.T) {
	d := newSlackDesk(t)
	rv := open("rv_1", d.now)
	rv.Approvals = 2
	d.submit(t, rv)
	body := payload("UDORA", "T1", "postern_approve", "rv_1|digest-of-rv_1", "")
	h := sign(signingSecret, d.now, body)
	if code := d.post(t, home, body, h); code != http.StatusOK {
		t.Fatalf("answered %d", code)
	}
	if code := d.post(t, home, body, h); code != http.StatusUnauthorized {
		t.Errorf("the replay was answered %d", code)
	}
	// A second click of the same person is no second person.
	d.now = d.now.Add(time.Second)
	body = payload("UDORA", "T1", "postern_approve", "rv_1|digest-of-rv_1", d.peer.URL+"/r")
	if code := d.post(t, home, body, sign(signingSecret, d.now, body)); code != http.StatusOK {
		t.Errorf("answered %d", code)
	}
	if rv := d.state(t, "rv_1"); rv.State != postern.ReviewPending || len(rv.Votes) != 1 {
		t.Errorf("%+v", rv)
	}
	if last := string(d.peer.bodies[len(d.peer.bodies)-1]); !strings.Contains(last, "someone else must") {
		t.Errorf("answered %s", last)
	}
}

// A signed click can't make the gateway call somewhere else.
func TestAnswerGoesHomeOnly(t *testing.T) {
	d := newSlackDesk(t)
	other := newPeer(t)
	d.submit(t, open("rv_1", d.now))
	before := len(d.peer.bodies)
	for i, address := range []string{
		other.URL + "/x", "http://127.0.0.1:1/x", "https://169.254.169.254/x", "file:///etc/passwd", "", d.peer.URL[:len(d.peer.URL)-1],
		strings.Replace(d.peer.URL, "https://", "https://a@", 1), strings.Replace(d.peer.URL, "https", "http", 1),
	} {
		d.now = d.now.Add(time.Duration(i+1) * time.Second)
		body := payload("UEVE", "T1", "postern_approve", "rv_1|digest-of-rv_1", address)
		d.post(t, home, body, sign(signingSecret, d.now, body))
	}
	other.got(t, 0)
	d.peer.got(t, before)
}
