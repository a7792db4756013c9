package detect

import (
	"strings"
	"testing"
)

// corpus is text with what is in it: between ⟦ and ⟧, behind the detector's
// name. All values are invented; cards, IBANs and keys are issuers' examples.
var corpus = []string{
	// e-mail
	"write to ⟦email:ada.lovelace@example.com⟧, or ⟦email:o'neil+tag@mail.example.co.uk⟧.",
	"<⟦email:jürgen@müller.example.de⟧>;⟦email:a@xn--d1acufc.xn--p1ai⟧",
	"user=⟦email:ada@example.org⟧&next=/ and mailto:⟦email:b@example.org⟧",
	"\\n⟦email:ada@example.org⟧\\n in a log, ⟦email:\"quoted name\"@example.org⟧",
	"not one: ada@, @example.com, ada@localhost, ada at example, a@b.1, info@presidio.",
	// credit_card
	"cards ⟦credit_card:4111111111111111⟧ ⟦credit_card:4111-1111-1111-1111⟧ and ⟦credit_card:5555 5555 5555 4444⟧, 12/26",
	"amex ⟦credit_card:3782 822463 10005⟧; diners ⟦credit_card:30569309025904⟧; visa ⟦credit_card:4222222222222⟧",
	"no-break: ⟦credit_card:4111\u00a01111\u00a01111\u00a01111⟧, digit by digit ⟦credit_card:4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1⟧",
	"not one: 4111111111111112, 1234567890123452, 0000000000000000, 41111111111111110000, 669.1510054514421, 4111.1111.1111.1111.1",
	// iban
	"pay ⟦iban:DE89 3704 0044 0532 0130 00⟧ or ⟦iban:gb29nwbk60161331926819⟧ or ⟦iban:FR14 2004 1010 0505 0001 3M02 606⟧ X",
	"not one: DE89 3704 0044 0532 0130 01, XX89370400440532013000, DE8937040044053201300, De89370400440532013000",
	// ssn
	"ssn ⟦ssn:536-90-4399⟧, ⟦ssn:536 90 4399⟧, social security number ⟦ssn:536904399⟧",
	"not one: 000-12-3456, 666-12-3456, 900-12-3456, 123-00-4567, 123-45-0000, 536904399, 536-90.4399, 1-536-90-4399, 536-90-4399-1",
	// phone
	"call ⟦phone:+1 415 555 0132⟧, ⟦phone:(415) 555-0132⟧, ⟦phone:415.555.0132 ext. 12⟧, ⟦phone:0044 20 7946 0958⟧",
	"⟦phone:+46 (0)8 928 571 38⟧ and ⟦phone:0 (532) 123 45 67⟧ and ⟦phone:02.27.96.63.08⟧ and ⟦phone:089 72 63 41⟧ fax",
	"mobile ⟦phone:2813882583⟧, tel. ⟦phone:455 6186⟧, ⟦phone:+49 30 901820⟧, ⟦phone:07700900123⟧",
	"not one: 2002-11-22 18:02:08, 52904.41, 1704208591916, 12-12-2019, 10.1.2, v17.13.25, ORD-307109916, AB-2174-B, 100 000 items, 2019-2020",
	// ip
	"from ⟦ip:10.1.2.3⟧ to ⟦ip:2001:db8::1⟧, net ⟦ip:172.16.0.0/12⟧ and ⟦ip:fe80::/10⟧, [⟦ip:2001:db8::2⟧]:8080, ⟦ip:::ffff:192.0.2.1⟧",
	"listening on ⟦ip:::⟧ and ⟦ip:::1⟧, full ⟦ip:2001:0db8:85a3:0000:0000:8a2e:0370:7334⟧.",
	"not one: 12:34:56, std::dec, x::text, 'abc'::date, 256.1.1.1, 1.2.3, 1.2.3.4.5, 2001::25de::cade, 1:2:3:4, 00:1A:2B:3C:4D:5E",
	// url
	"see ⟦url:https://example.com/a?b=c(d)⟧, (⟦url:http://www.example.org⟧) or ⟦url:www.example.net/path⟧.",
	"not one: main.go, a.b, node.js, 1.2, www.example",
	// secret
	"⟦secret:ghp_mgl1fde1ak1vzbzb54qnvmuw973a9pyv3wvn⟧ and ⟦secret:AKIAQYLPMN5HHHFPZAM2⟧ and ⟦secret:sk_live_0wig8v8kprb4qyp2f2zt9jvz⟧",
	`{"password": "⟦secret:correct horse⟧", "api_key":"⟦secret:9f8a7b6c5d4e3f2a1b0c⟧", "user": "ada"}`,
	"⟦url:postgres://app:hunter22@db.internal/orders⟧ and PGPASSWORD=⟦secret:hunter22⟧ psql",
	"curl -u ⟦secret:ada:h0pk1ns-21s⟧ internal -H 'Authorization: Bearer ⟦secret:cfcabd11c7ed9a41b1a3e063c32d5114⟧'",
	"⟦secret:eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U⟧",
	"⟦secret:-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n-----END PRIVATE KEY-----⟧",
	"not one: password=${DB_PASSWORD}, token: null, key = value, \"etag\": \"70575870032264fa2ba9df8a1285822184aaf461\", author = james",
	"not one: 0bb01ded-2e3c-4dc7-8357-18e7a945bb9e NM8QUjebkFwAAfmTzVY8KJ/zFdTJQyfw public_key = \"9Cnzj4p4WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit\"",
	// national ids beside their words, or of unmistakable form
	"NINO ⟦uk_nino:AA 12 34 56 B⟧, NHS ⟦uk_nhs:401 023 2137⟧, PESEL ⟦pl_pesel:44051401359⟧, hetu ⟦fi_personal_identity_code:131052-308T⟧",
	"DNI ⟦es_nif:12345678Z⟧, codice ⟦it_fiscal_code:RSSMRA85T10A562S⟧, CPF ⟦br_cpf:529.982.247-25⟧, USt ⟦de_vat_id:DE 136 695 976⟧",
	"not one without a word: 44051401359, 121000358, 876543210, 10000000146, 1234567893",
}

// corpusNames are the detectors that the corpus is about.
var corpusNames = []string{"email", "credit_card", "iban", "ssn", "phone", "ip", "url", "secret", NationalIDs}

func corpusTexts() []string {
	var texts []string
	for _, c := range corpus {
		text, _ := parseCorpus(c)
		texts = append(texts, text)
	}
	return texts
}

func parseCorpus(marked string) (text string, want []string) {
	for {
		before, rest, ok := strings.Cut(marked, "⟦")
		text += before
		if !ok {
			return text, want
		}
		value, after, _ := strings.Cut(rest, "⟧")
		want = append(want, value)
		_, value, _ = strings.Cut(value, ":")
		text += value
		marked = after
	}
}

// TestCorpus finds every value of the corpus with the borders that it has, and
// nothing else.
func TestCorpus(t *testing.T) {
	scanner, unknown := New(corpusNames...)
	if len(unknown) > 0 {
		t.Fatal(unknown)
	}
	for _, marked := range corpus {
		text, want := parseCorpus(marked)
		var got []string
		for _, s := range scanner.Scan(nil, []byte(text)) {
			got = append(got, s.Entity.String()+":"+text[s.Start:s.End])
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%q\n got  %q\n want %q", text, got, want)
		}
	}
}

// TestEachDetectorAlone finds the same values with one detector at a time: no
// detector needs another.
func TestEachDetectorAlone(t *testing.T) {
	for _, name := range corpusNames[:8] {
		scanner, _ := New(name)
		for _, marked := range corpus {
			text, want := parseCorpus(marked)
			var mine []string
			for _, w := range want {
				if strings.HasPrefix(w, name+":") {
					mine = append(mine, strings.TrimPrefix(w, name+":"))
				}
			}
			found := scanner.Scan(nil, []byte(text))
			for _, w := range mine {
				ok := false
				for _, s := range found {
					ok = ok || strings.Contains(text[s.Start:s.End], w)
				}
				if !ok {
					t.Errorf("%s alone misses %q in %q", name, w, text)
				}
			}
		}
	}
}

func TestPasswordInAddress(t *testing.T) {
	scanner, _ := New("secret")
	text := "postgres://app:hunter22@db.internal/orders, redis://:s3cr3t@cache, https://${USER}:${PASS}@x"
	var got []string
	for _, s := range scanner.Scan(nil, []byte(text)) {
		got = append(got, text[s.Start:s.End])
	}
	if strings.Join(got, " ") != "hunter22 s3cr3t" {
		t.Errorf("found %q", got)
	}
}

func TestUnknownNames(t *testing.T) {
	if _, unknown := New("email", "aura", "", "EMAIL"); len(unknown) != 3 {
		t.Errorf("unknown are %q", unknown)
	}
}

// TestNoAllocations: text without anything to find costs no memory.
func TestNoAllocations(t *testing.T) {
	scanner, _ := New(corpusNames...)
	text := []byte("order 100042 | 2024-01-02 10:20:30.123456 | pending | 1234.50 | token expired for user 17, see /var/log/app.log 0bb01ded-2e3c-4dc7-8357-18e7a945bb9e")
	if spans := scanner.Scan(nil, text); len(spans) > 0 {
		t.Fatalf("found %v", spans)
	}
	if n := testing.AllocsPerRun(100, func() { scanner.Scan(nil, text) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLabelExplains(t *testing.T) {
	scanner, _ := New("ssn", "phone", NationalIDs)
	for name, value := range map[string]string{"ssn": "536904399", "customer_ssn": "536904399", "phoneNumber": "4155550132", "PESEL": "44051401359", "mobile_phone": "4321234567"} {
		if found := scanner.ScanCell(nil, []byte(value), LabelOf(name)); len(found) != 1 {
			t.Errorf("%s labelled %s: found %v", value, name, found)
		}
		for _, other := range []string{"amount", "phone_count", "text", "contact_id", "ssn_type"} {
			if found := scanner.ScanCell(nil, []byte(value), LabelOf(other)); len(found) != 0 {
				t.Errorf("%s labelled %s: found %v", value, other, found)
			}
		}
	}
}
