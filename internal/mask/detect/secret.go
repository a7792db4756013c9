package detect

// What a known token is made of, behind its prefix.
const (
	cHex   = iota // hexadecimal digits
	cUpper        // capitals and digits
	cAlnum        // letters and digits
	cWord         // and _ and -
	cToken        // and . and =
	cB64          // and + and /
)

var tokenClass = func() (t [6][256]bool) {
	for c := range 256 {
		b := byte(c)
		t[cHex][c] = isHex(b)
		t[cUpper][c] = isUpper(b) || isDigit(b)
		t[cAlnum][c] = isAlnum(b)
		t[cWord][c] = isAlnum(b) || b == '_' || b == '-'
		t[cToken][c] = t[cWord][c] || b == '.' || b == '='
		t[cB64][c] = t[cToken][c] || b == '+' || b == '/' || b == '~' || b == '%'
	}
	return t
}()

// token is the form of a credential that can be told by how it begins.
type token struct {
	prefix string
	class  uint8
	min    int // characters behind the prefix, at least
	max    int // at most; 0: any number
}

// tokens are the forms that issuers publish, so that scanners can find what leaked.
var tokens = []token{
	{"A3-", cWord, 30, 42},    // 1Password secret key
	{"ops_eyJ", cB64, 100, 0}, // 1Password service account
	{"AKIA", cUpper, 16, 16},
	{"ASIA", cUpper, 16, 16},
	{"ABIA", cUpper, 16, 16},
	{"ACCA", cUpper, 16, 16},
	{"A3T", cUpper, 17, 17}, // AWS
	{"ABSK", cB64, 100, 0},
	{"bedrock-api-key-YmVk", cB64, 30, 0},
	{"AGE-SECRET-KEY-1", cUpper, 56, 60},
	{"AIza", cWord, 34, 36},
	{"GOCSPX-", cWord, 24, 0},
	{"ya29.", cWord, 24, 0}, // Google
	{"AKCp", cAlnum, 65, 0},
	{"cmVmd", cAlnum, 56, 64}, // Artifactory
	{"API-", cUpper, 26, 32},  // Octopus Deploy
	{"AQVN", cWord, 34, 0},
	{"YC", cWord, 36, 40}, // Yandex
	{"ATATT3", cToken, 100, 0},
	{"ATCTT3", cToken, 100, 0},
	{"ATBB", cAlnum, 24, 0}, // Atlassian
	{"CLOJARS_", cHex, 56, 0},
	{"EAA", cAlnum, 90, 0},  // Facebook, and Square
	{"EAAA", cWord, 22, 62}, // Square
	{"EZAK", cAlnum, 54, 54},
	{"EZTK", cAlnum, 54, 54}, // EasyPost
	{"FLWPUBK_TEST-", cWord, 24, 0},
	{"FLWSECK_TEST-", cWord, 12, 0},
	{"FLWPUBK-", cWord, 24, 0},
	{"FLWSECK-", cWord, 24, 0},
	{"GR1348941", cWord, 20, 0},
	{"HRKU-AA", cWord, 50, 0},
	{"LTAI", cAlnum, 17, 21},
	{"NRAK-", cAlnum, 25, 0},
	{"NRII-", cWord, 28, 0},
	{"NRJS-", cHex, 18, 0}, // New Relic
	{"PMAK-", cWord, 50, 0},
	{"SG.", cToken, 60, 0},
	{"SK", cHex, 32, 32},
	{"AC", cHex, 32, 32}, // Twilio
	{"TWE", cAlnum, 40, 0},
	{"api_org_", cAlnum, 34, 0},
	{"hf_", cAlnum, 32, 36}, // Hugging Face
	{"access-sandbox-", cWord, 36, 36},
	{"access-development-", cWord, 36, 36},
	{"access-production-", cWord, 36, 36}, // Plaid
	{"dapi", cHex, 32, 34},
	{"dnkey-", cToken, 40, 0},
	{"dckr_pat_", cWord, 20, 0},
	{"dop_v1_", cHex, 60, 0},
	{"doo_v1_", cHex, 60, 0},
	{"dor_v1_", cHex, 60, 0}, // DigitalOcean
	{"dp.pt.", cAlnum, 40, 0},
	{"dp.st.", cToken, 40, 0},
	{"dp.ct.", cAlnum, 40, 0}, // Doppler
	{"dt0c01.", cToken, 80, 0},
	{"dt0s01.", cToken, 80, 0}, // Dynatrace
	{"duffel_test_", cToken, 40, 0},
	{"duffel_live_", cToken, 40, 0},
	{"figd_", cWord, 36, 0},
	{"figs_", cWord, 36, 0},
	{"fio-u-", cToken, 60, 0},
	{"fo1_", cWord, 40, 46},
	{"fm1_", cB64, 90, 0},
	{"fm1a_", cB64, 90, 0},
	{"fm1r_", cB64, 90, 0},
	{"fm2_", cB64, 90, 0}, // Fly.io
	{"ghp_", cAlnum, 36, 0},
	{"gho_", cAlnum, 36, 0},
	{"ghu_", cAlnum, 36, 0},
	{"ghs_", cAlnum, 36, 0},
	{"ghr_", cAlnum, 36, 0},
	{"github_pat_", cWord, 60, 0},
	{"glagent-", cWord, 40, 0},
	{"glcbt-", cWord, 18, 0},
	{"gldt-", cWord, 18, 0},
	{"glffct-", cWord, 18, 0},
	{"glft-", cWord, 18, 0},
	{"glimt-", cWord, 20, 0},
	{"gloas-", cWord, 50, 0},
	{"glpat-", cToken, 20, 0},
	{"glptt-", cWord, 36, 0},
	{"glrt-", cToken, 18, 0},
	{"glrtr-", cWord, 18, 0},
	{"glsoat-", cWord, 18, 0},
	{"_gitlab_session=", cAlnum, 30, 0},
	{"glc_", cB64, 32, 0},
	{"glsa_", cWord, 36, 0}, // Grafana
	{"gsk_", cAlnum, 40, 0},
	{"r8_", cAlnum, 36, 0},
	{"xai-", cAlnum, 60, 0},
	{"hvs.", cWord, 24, 0},
	{"hvb.", cWord, 100, 0},
	{"hvr.", cWord, 24, 0}, // Vault
	{"ico-", cAlnum, 32, 32},
	{"key-", cHex, 32, 32},
	{"pubkey-", cHex, 32, 32}, // Mailgun
	{"lin_api_", cAlnum, 36, 0},
	{"lin_oauth_", cAlnum, 36, 0},
	{"live_pub_", cHex, 28, 0},
	{"test_pub_", cHex, 28, 0},
	{"live_", cHex, 35, 35},
	{"test_", cHex, 35, 35}, // Lob
	{"nfp_", cAlnum, 36, 0},
	{"npm_", cAlnum, 36, 36},
	{"ntn_", cAlnum, 44, 50},
	{"secret_", cAlnum, 43, 43}, // Notion
	{"oy2", cAlnum, 43, 43},     // NuGet
	{"p8e-", cHex, 32, 32},      // Adobe
	{"pat.", cToken, 60, 0},
	{"sat.", cToken, 60, 0}, // Harness
	{"phx_", cAlnum, 40, 0},
	{"pk.", cToken, 80, 90},
	{"sk.", cToken, 80, 0}, // Mapbox
	{"pnu_", cAlnum, 36, 0},
	{"pplx-", cAlnum, 44, 0},
	{"pscale_tkn_", cToken, 30, 0},
	{"pscale_pw_", cToken, 30, 0},
	{"pscale_oauth_", cToken, 30, 0},
	{"pscale_pat_", cToken, 30, 0},
	{"pul-", cHex, 40, 0},
	{"pypi-AgE", cWord, 50, 0},
	{"rdme_", cAlnum, 64, 0},
	{"rubygems_", cHex, 44, 0},
	{"rk_live_", cAlnum, 10, 0},
	{"rk_test_", cAlnum, 10, 0},
	{"rk_prod_", cAlnum, 10, 0},
	{"sk_live_", cAlnum, 10, 0},
	{"sk_test_", cAlnum, 10, 0},
	{"sk_prod_", cAlnum, 10, 0},
	{"whsec_", cB64, 24, 0}, // Stripe
	{"s-s4t2ud-", cHex, 60, 0},
	{"s-s4t2af-", cHex, 60, 0}, // 42
	{"s.", cAlnum, 24, 24},
	{"sbp_", cHex, 40, 0},
	{"sgp_local_", cHex, 40, 40},
	{"sgp_", cWord, 40, 0},
	{"sha256~", cWord, 40, 0}, // OpenShift
	{"shippo_live_", cHex, 36, 0},
	{"shippo_test_", cHex, 36, 0},
	{"shpat_", cHex, 30, 0},
	{"shpca_", cHex, 30, 0},
	{"shppa_", cHex, 30, 0},
	{"shpss_", cHex, 30, 0},
	{"sk-ant-", cWord, 80, 0},
	{"sk-proj-", cWord, 40, 0},
	{"sk-svcacct-", cWord, 40, 0},
	{"sk-admin-", cWord, 40, 0},
	{"sk-or-v1-", cHex, 60, 0},
	{"sk-", cAlnum, 40, 0},
	{"sl.", cWord, 130, 0},
	{"sm_aat_", cAlnum, 14, 0},
	{"sm_pat_", cAlnum, 14, 0},
	{"sm_sat_", cAlnum, 14, 0},
	{"sntrys_eyJ", cB64, 100, 0},
	{"sntryu_", cHex, 64, 0},
	{"sqa_", cHex, 40, 0},
	{"sqp_", cAlnum, 40, 0},
	{"squ_", cHex, 40, 0},
	{"sqa_", cAlnum, 40, 0},
	{"squ_", cAlnum, 40, 0}, // Sonar
	{"sq0atp-", cWord, 20, 0},
	{"sq0csp-", cWord, 40, 0},
	{"sq0idp-", cWord, 20, 0},
	{"t1.", cToken, 80, 0},
	{"tfp_", cWord, 40, 0},
	{"tk-us-", cWord, 44, 0},
	{"tskey-", cWord, 24, 0},
	{"v1.0-", cWord, 140, 0},
	{"vercel_", cAlnum, 24, 0},
	{"xapp-", cWord, 30, 0},
	{"xoxe.xoxb-", cWord, 40, 0},
	{"xoxe.xoxp-", cWord, 40, 0},
	{"xoxa-", cWord, 12, 0},
	{"xoxb-", cWord, 24, 0},
	{"xoxe-", cWord, 60, 0},
	{"xoxo-", cWord, 24, 0},
	{"xoxp-", cWord, 24, 0},
	{"xoxr-", cWord, 24, 0},
	{"xoxs-", cWord, 24, 0},
	{"xkeysib-", cWord, 70, 0},
	{"ZXlK", cB64, 60, 0}, // a JSON web token, encoded once more
	{"eyJ", cWord, 15, 0},
}

// tokenIndex finds the tokens that begin with two given bytes.
var tokenIndex, tokenGroups = func() (index [128][128]uint8, groups [][]token) {
	groups = [][]token{nil}
	for _, t := range tokens {
		a, b := t.prefix[0], t.prefix[1]
		if index[a][b] == 0 {
			index[a][b] = uint8(len(groups))
			groups = append(groups, nil)
		}
		groups[index[a][b]] = append(groups[index[a][b]], t)
	}
	return index, groups
}()

// firstLook is after how many bytes a long value must have begun to look like one.
const firstLook = 128

// knownToken parses a credential of known form at i, where a word begins. It
// returns 0 when there is none.
func (p *pass) knownToken(i int) int {
	if i+12 > len(p.text) {
		return 0
	}
	a, b := p.text[i], p.text[i+1]
	if (a|b)&0x80 != 0 {
		return 0
	}
	g := tokenIndex[a][b]
	if g == 0 {
		return 0
	}
	rest := p.text[i:]
	for n := range tokenGroups[g] {
		t := &tokenGroups[g][n]
		if len(t.prefix) > 2 && t.prefix[2] != rest[2] || len(rest) < len(t.prefix)+t.min || string(rest[:len(t.prefix)]) != t.prefix {
			continue
		}
		class := &tokenClass[t.class]
		n, limit := len(t.prefix), MaxValue
		if t.max > 0 {
			limit = len(t.prefix) + t.max + 1
		}
		for n < len(rest) && n < limit && class[rest[n]] {
			if n++; n == firstLook && !varied(rest[len(t.prefix):n]) {
				break // so that hostile text can't have it all read again and again
			}
		}
		for n > len(t.prefix) && (rest[n-1] == '.' || rest[n-1] == '-' && t.class != cWord) {
			n--
		}
		body := n - len(t.prefix)
		if t.prefix == "eyJ" {
			if end := p.webToken(i, n); end > 0 {
				return end
			}
			continue
		}
		if body < t.min || t.max > 0 && body > t.max || n < len(rest) && n < MaxValue && isAlnum(rest[n]) {
			continue
		}
		if i > p.floor && (p.text[i-1] == '+' || p.text[i-1] == '/' && isAlnum(t.prefix[len(t.prefix)-1])) {
			continue // inside a longer text of base64
		}
		if len(t.prefix) < 16 && !varied(rest[len(t.prefix):n]) || t.class == cUpper && hasFold(rest, n-7, "example") {
			continue
		}
		return i + n
	}
	return 0
}

// webToken parses a JSON web token whose header is text[i:i+n]. Grafana's keys
// look like a header alone.
func (p *pass) webToken(i, n int) int {
	k, parts := i+n, 1
	for parts < 5 && p.at(k) == '.' {
		j := k + 1
		for j < len(p.text) && j-k < MaxValue && tokenClass[cB64][p.text[j]] && p.text[j] != '.' {
			j++
		}
		if j == k+1 && parts > 1 {
			break
		}
		if parts == 1 && j-k < 10 {
			break
		}
		k = j
		parts++
	}
	if parts >= 2 || n >= 70 {
		for p.at(k) == '=' {
			k++
		}
		return k
	}
	return 0
}

// varied says whether text could be random: not a placeholder such as xxxxxxxx.
func varied(b []byte) bool {
	need := 4
	if len(b) >= 16 {
		need = 6
	}
	return distinct(b, need) && !repeated(b)
}

// distinct says whether at least need different bytes are among b.
func distinct(b []byte, need int) bool {
	var seen [4]uint64
	n := 0
	for _, c := range b {
		if seen[c>>6]&(1<<(c&63)) == 0 {
			seen[c>>6] |= 1 << (c & 63)
			if n++; n >= need {
				return true
			}
		}
	}
	return false
}

// repeated says whether one character makes up most of b.
func repeated(b []byte) bool {
	run, longest := 1, 1
	for k := 1; k < len(b); k++ {
		if lower(b[k]) == lower(b[k-1]) {
			run++
			longest = max(longest, run)
		} else {
			run = 1
		}
	}
	return longest >= 8 && longest*2 >= len(b)
}

const (
	pemBegin = "-----BEGIN "
	pemEnd   = "-----END "
)

// dashes looks at the hyphen at i: at a private key in PEM form, and at
// options such as --password on a command line.
func (p *pass) dashes(i int) int {
	n := i + 1
	for n < len(p.text) && p.text[n] == '-' {
		n++
	}
	if n-i == 5 && hasPrefix(p.text[i:], pemBegin) {
		if end := p.pem(i); end > 0 {
			return p.emit(i, end, Secret)
		}
		return n
	}
	if n-i <= 2 && (i == 0 || isSpace(p.text[i-1])) && n < len(p.text) && isLetter(p.text[n]) {
		if from, to := p.option(n, n-i); to > from {
			return p.emit(from, to, Secret)
		}
	}
	return n
}

func hasPrefix(text []byte, s string) bool { return len(text) >= len(s) && string(text[:len(s)]) == s }

// pem finds the end of the private key that begins at i. Without an end, all
// that can belong to it counts.
func (p *pass) pem(i int) int {
	text := p.text[i:min(len(p.text), i+MaxPEM)]
	k := len(pemBegin)
	line := k
	for line < len(text) && line < k+40 && (isUpper(text[line]) || text[line] == ' ') {
		line++
	}
	private := false
	for j := k; j+len("PRIVATE KEY") <= line; j++ {
		private = private || string(text[j:j+len("PRIVATE KEY")]) == "PRIVATE KEY"
	}
	if !private {
		return 0
	}
	for line < len(text) && text[line] == '-' {
		line++
	}
	body := 0
	for j := line; j < len(text); j++ {
		if tokenClass[cB64][text[j]] && text[j] != '-' {
			body++
			continue
		}
		if text[j] == '-' && hasPrefix(text[j:], pemEnd) {
			if body < 32 {
				return 0
			}
			for j += len(pemEnd); j < len(text) && (isUpper(text[j]) || text[j] == ' '); j++ {
			}
			for j < len(text) && text[j] == '-' {
				j++
			}
			return i + j
		}
	}
	if body < 32 {
		return 0
	}
	return i + len(text)
}

// webhook parses the host and path of a web hook that is a secret by itself.
func (p *pass) webhook(i int) int {
	for _, host := range [...]string{"hooks.slack.com/services/", "hooks.slack.com/workflows/", "hooks.slack.com/triggers/", "discord.com/api/webhooks/", "discordapp.com/api/webhooks/"} {
		if hasPrefix(p.text[i:], host) {
			if end := p.urlEnd(i + len(host)); end-i-len(host) >= 20 {
				return end
			}
		}
	}
	limit := min(len(p.text), i+80)
	for k := i; k < limit && (isAlnum(p.text[k]) || p.text[k] == '-' || p.text[k] == '.'); k++ {
		if p.text[k] == '.' && hasPrefix(p.text[k:], ".webhook.office.com/webhook") {
			return p.urlEnd(k)
		}
	}
	return 0
}

// userinfo finds the password in user:password@host at i.
func (p *pass) userinfo(i int) (from, to int) {
	for k := i; k < len(p.text) && k < i+256; k++ {
		switch c := p.text[k]; {
		case c == '@':
			if from > 0 && k > from && !placeholder(p.text[from:k]) {
				return from, k
			}
			return 0, 0
		case c == ':' && from == 0:
			from = k + 1
		case c <= ' ' || c == '/' || c == '"' || c == '\'' || c == '<' || c == '>' || c == '\\' || c == '`':
			return 0, 0
		}
	}
	return 0, 0
}

// botToken parses a token that begins with the number text[i:j]: Telegram's
// 48007843:A788…, Facebook's 911602140448729|AY-l….
func (p *pass) botToken(i, j int) int {
	k := j + 1
	for k < len(p.text) && k-j < 64 && tokenClass[cWord][p.text[k]] {
		k++
	}
	body := p.text[j+1 : k]
	switch {
	case p.text[j] == ':' && len(body) == 35 && body[0] == 'A' && j-i <= 16 && varied(body):
		return k
	case p.text[j] == '|' && len(body) >= 26 && len(body) <= 28 && (j-i == 15 || j-i == 16) && varied(body):
		return k
	}
	return 0
}

// azure parses a client secret of Microsoft's, which has 8Q~ in the fourth
// place, around the tilde at i.
func (p *pass) azure(i int) int {
	if i < 5 || p.text[i-1] != 'Q' || !isDigit(p.text[i-2]) {
		return i + 1
	}
	start := i - 5
	if start < p.behind() || start > 0 && azureByte(p.text[start-1]) {
		return i + 1
	}
	end := i + 1
	for end < len(p.text) && end-i < 40 && azureByte(p.text[end]) {
		end++
	}
	for end > i && p.text[end-1] == '.' {
		end--
	}
	if n := end - i - 1; n < 31 || n > 34 || !azureByte(p.text[start]) || !azureByte(p.text[start+1]) || !azureByte(p.text[start+2]) || !varied(p.text[i:end]) {
		return i + 1
	}
	return p.emit(start, end, Secret)
}

func azureByte(c byte) bool { return isAlnum(c) || c == '_' || c == '-' || c == '.' || c == '~' }
