package detect

import "testing"

// phoneForms are how numbers are written where they are at home: fixed and
// mobile ones, from the national plans' examples. Those in bare are told only
// beside a word.
var phoneForms = []struct {
	region        string
	international []string
	national      []string
	bare          []string
}{
	{"US", []string{"+1 201-555-0123", "+12015550123", "+1 (201) 555-0123"}, []string{"(201) 555-0123", "201-555-0123", "201.555.0123", "201 555 0123", "1-800-234-5678"}, []string{"2015550123", "555-0123"}},
	{"GB", []string{"+44 121 234 5678", "+44 7400 123456", "+44 (0)20 7946 0958"}, []string{"0121 234 5678", "07400 123456", "020 7946 0958", "07400123456", "(020) 7946 0958"}, []string{"7946 0958"}},
	{"DE", []string{"+49 30 123456", "+49 1512 3456789", "+49 (0)30 901820"}, []string{"030 1234567", "01512 3456789", "030/901820 17", "0431 35 06 90", "0910-5877671"}, nil},
	{"FR", []string{"+33 1 23 45 67 89", "+33 6 12 34 56 78"}, []string{"01 23 45 67 89", "06.12.34.56.78", "0612345678", "06-12-34-56-78"}, nil},
	{"IT", []string{"+39 02 1234 5678", "+39 312 345 6789"}, []string{"02 1234 5678", "312 345 6789", "06 678 4343"}, []string{"3123456789"}},
	{"ES", []string{"+34 810 12 34 56", "+34 612 34 56 78"}, []string{"810 12 34 56", "612 34 56 78"}, []string{"612345678", "612 345 678"}},
	{"NL", []string{"+31 10 123 4567", "+31 6 12345678"}, []string{"010 123 4567", "06 12345678", "06-12345678", "020 624 1111"}, nil},
	{"BE", []string{"+32 12 34 56 78", "+32 470 12 34 56"}, []string{"012 34 56 78", "0470 12 34 56", "0470/12.34.56"}, nil},
	{"CH", []string{"+41 21 234 56 78", "+41 78 123 45 67", "+41 (0)44 668 18 00"}, []string{"021 234 56 78", "078 123 45 67"}, nil},
	{"AT", []string{"+43 1 234567890", "+43 664 123456"}, []string{"0664 123456", "01 2345678"}, nil},
	{"SE", []string{"+46 8 12 34 56", "+46 70 123 45 67"}, []string{"08-123 456 78", "070-123 45 67", "(08) 8747 6301"}, nil},
	{"NO", []string{"+47 21 23 45 67", "+47 406 12 345"}, []string{"21 23 45 67", "406 12 345"}, []string{"40612345"}},
	{"DK", []string{"+45 32 12 34 56"}, []string{"32 12 34 56", "32-12-34-56"}, []string{"32123456"}},
	{"FI", []string{"+358 13 123456", "+358 41 2345678"}, []string{"013 123 456", "041 2345678", "040 898 9331"}, nil},
	{"PL", []string{"+48 12 345 67 89", "+48 512 345 678"}, []string{"12 345 67 89"}, []string{"512 345 678"}},
	{"PT", []string{"+351 21 234 5678", "+351 912 345 678"}, nil, []string{"212 345 678", "21 234 5678", "912 345 678"}},
	{"BR", []string{"+55 11 2345-6789", "+55 11 96123-4567"}, []string{"(11) 2345-6789", "(11) 96123-4567"}, []string{"11 2345-6789"}},
	{"MX", []string{"+52 200 123 4567", "+52 1 222 123 4567"}, []string{"200 123 4567", "(55) 1234 5678"}, []string{"2001234567"}},
	{"IN", []string{"+91 74104 10123", "+91 81234 56789"}, []string{"074104 10123", "081234 56789"}, []string{"8123456789"}},
	{"JP", []string{"+81 3-1234-5678", "+81 90-1234-5678"}, []string{"03-1234-5678", "090-1234-5678"}, nil},
	{"CN", []string{"+86 10 1234 5678", "+86 131 2345 6789"}, []string{"010 1234 5678"}, []string{"131 2345 6789", "13123456789"}},
	{"KR", []string{"+82 2-212-3456", "+82 10-2000-0000"}, []string{"02-2123-4567", "010-2000-1234"}, nil},
	{"AU", []string{"+61 2 1234 5678", "+61 412 345 678"}, []string{"(02) 1234 5678", "0412 345 678"}, nil},
	{"NZ", []string{"+64 3 234 5678", "+64 21 123 4567"}, []string{"03-234 5678", "021 123 4567"}, nil},
	{"ZA", []string{"+27 10 123 4567", "+27 71 123 4567"}, []string{"010 123 4567", "071 123 4567"}, nil},
	{"TR", []string{"+90 212 345 67 89", "+90 501 234 56 78"}, []string{"0212 345 67 89", "0 (501) 234 56 78", "05012345678", "501 234 56 78"}, nil},
	{"PH", []string{"+63 2 3234 5678", "+63 905 123 4567"}, []string{"(02) 3234 5678", "0905 123 4567", "09051234567"}, nil},
	{"SG", []string{"+65 6123 4567", "+65 8123 4567"}, nil, []string{"6123 4567", "81234567"}},
	{"RU", []string{"+7 301 123-45-67", "+7 (912) 345-67-89"}, []string{"8 (301) 123-45-67", "8 912 345-67-89"}, nil},
	{"GR", []string{"+30 21 2345 6789", "+30 691 234 5678"}, []string{"691 234 5678"}, []string{"21 2345 6789"}},
}

func TestPhoneForms(t *testing.T) {
	scanner, _ := New("phone")
	check := func(region, before, number, after string) {
		t.Helper()
		text := before + number + after
		found := scanner.Scan(nil, []byte(text))
		if len(found) != 1 || text[found[0].Start:found[0].End] != number {
			t.Errorf("%s: %q gives %v", region, text, found)
		}
	}
	for _, f := range phoneForms {
		for _, number := range f.international {
			check(f.region, "at ", number, " from nine")
			check(f.region, "(", number, ")")
		}
		for _, number := range f.national {
			check(f.region, "at ", number, " from nine")
			check(f.region, "\"", number, "\",")
		}
		for _, number := range f.bare {
			check(f.region, "Phone: ", number, "\nother")
			check(f.region, "the number is ", number, " (mobile)")
			if found := scanner.Scan(nil, []byte("order "+number+" of May")); len(found) > 0 {
				t.Errorf("%s: %q is taken for a number without a word", f.region, number)
			}
		}
	}
	if len(phoneForms) < 20 {
		t.Error("fewer than twenty regions")
	}
}
