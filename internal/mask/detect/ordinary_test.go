package detect

import "testing"

// ordinary is what databases and logs are full of, and what must come through.
var ordinary = []string{
	"978-3-16-148410-0", "9783161484100", "0-306-40615-2", "4006381333931", "2049-3630",
	"1Z999AA10123456784", "JD014600003828392837", "RR123456785GB", "WVWZZZ1JZXW000001",
	"INV-2024-000123", "2024-000123", "PO 4500012345", "SKU 123-4567-8", "A-1002-33", "B00X4WHP5E", "REF 20240102/17",
	"1,234,567.89", "1 234 567,89", "100 000 000", "250 000 000 kr", "-1.5e10", "3.14159265358979", "$1234.50", "12 500 €",
	"10 x 20 x 30", "1920x1080", "16:9", "1:2:3", "23:59:59.999", "09:30-17:45", "50%", "1/2", "3/4 inch", "24/7", "9/11",
	"2024-01-02", "2024-01-02T03:04:05.678+01:00", "02.01.2024", "01/02/2024 10:20", "20240102030405", "1704208591", "1704208591916", "1704208591916123", "1704208591916123456",
	"1180591620717411303", "175928847299117063", "7041234567890123456", "12345", "80331", "90210-1234", "00501",
	"0bb01ded-2e3c-4dc7-8357-18e7a945bb9e", "70575870032264fa2ba9df8a1285822184aaf461", "08803ff9e25f4983c028716eca5cf68f",
	"NM8QUjebkFwAAfmTzVY8KJ/zFdTJQyfw", "c29tZSBiYXNlNjQgdGV4dA==", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
	"v1.2.3-beta.4", "1.2.3", "8.6.1067.1", "16.4.0 (build 20A362)", "version 10.0.19.45", "Chrome/120.0.0.0", "go1.26.8", "release 1.1.1.1",
	"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
	"1.3.6.1.4.1.311.21.20", "std::vector<int>", "x::text", "a::b::c", "fe::de", "00:00:00", "01 02 03 04 05 06 07 08", "12 34 41 45 49 6", "#ff00aa", "0xDEADBEEF",
	"/var/log/app-2024-01-02.log", "C:\\Users\\ada\\file.txt", "s3://bucket/logs/2024/01/02/abc123.gz", "main.go:123", "index.html", "README.md", "libfoo.so.1.2.3",
	"SELECT id, total FROM orders WHERE total > 100 AND status = 'paid' -- key: 17", "user_id = 100042 AND key = 'theme-dark-2024'", "ON CONFLICT (key) DO UPDATE",
	"ERROR: duplicate key value violates unique constraint \"orders_pkey\"", "DETAIL: Key (id)=(100042) already exists.", "password authentication failed for user \"ada\"",
	"{\"key\": \"logs/2024/01/02/part-00001.parquet\", \"size\": 1048576}", "{\"id\":100042,\"status\":\"shipped\",\"total\":\"1234.50\",\"tokens\":512}",
	"{\"token_type\":\"bearer\",\"expires_in\":3600}", "{\"cache_key\":\"user:100042:profile:v2\"}", "{\"key\":\"feature_new_checkout_2024\",\"enabled\":true}",
	"{\"authorized_at\":\"2024-01-02T03:04:05Z\",\"author\":\"ada17\",\"primary_key\":\"0bb01ded2e3c4dc7\"}", "{\"secret_name\":\"prod/db/main-2024\",\"key_id\":\"a1b2c3d4e5f6a7b8\"}",
	`{"phone":null,"order_id":1234567890,"phone_type":3}`, `{"order_id": 1234567890, "phone": null}`, "contact=12 call_id=1234567890 office=99", "call 1234567890 took 12 ms", "text 1234567 of 9876543",
	"{\"contact_id\": 12345678}", "social=1 ref=536904399",
	"token expired after 3600 s", "secret santa 2024", "press any key to continue", "the keyboard is broken", "Author: James Smith 1984", "keynote: 2024-01-02", "turkey: 12.50",
	"password: ********", "password = ?", "password=${DB_PASSWORD}", "token: <your token here>", "Password:", "reset your password within 24 hours",
	"level=info ts=2024-01-02T03:04:05.678Z caller=main.go:123 msg=\"request done\" status=200 duration=1.234ms", "GET /v1/orders/100042?page=2&size=50 HTTP/1.1 200 1234",
	"Order 100042: 3 items, total 1234.50, shipped 2024-01-02", "room 101, floor 12, building 3", "chapter 12.3.4", "Route 66", "3-2 win", "2019-2024", "1984 2001 2010", "lat 52.520008 lon 13.404954", "52.520008, 13.404954",
	"Q4 2024", "FY2023/24", "4x4", "H2O", "A4", "MP3", "USB3", "ISO 9001:2015", "RFC 5321", "ISO8601", "Boeing 747-400", "iPhone 15", "Windows 11", "COVID-19", "B2B", "WW2", "10k", "5'11\"", "+5 -3", "(2024)", "(10 rows)", "(100042, 17)",
	"a@b", "@ada", "foo@", "react@18.2.0", "user@host", "x=1&y=2", "name=ada", "[1, 2, 3]", "{1,2,3}", "(a,b)", "NULL", "\\N", "t", "f", "-----", "=====>", "--", "~", "...",
	"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor", "Die Straße ist lang und führt nach München", "注文番号は100042です", "заказ 100042 отправлен", "رقم الطلب 100042",
	"EUR 1951", "JPY 8165", "GBP 33", "0.00", "000000", "0000000000", "1111111111", "99999999", "12345678", "123456789", "1234567890", "123 456", "1-2-3-4", "555-1234",
	"ticket #123456", "case 00123456", "PR-1234", "CVE-2024-12345", "JIRA-1234", "ORD-307109916", "WH-9929-E", "PRD-8419-D", "T-800", "X-15", "MD5", "SHA-256", "UTF-8", "en_US.UTF-8", "America/New_York", "Etc/GMT+5",
}

// TestOrdinary: of what is ordinary, nothing is found.
func TestOrdinary(t *testing.T) {
	scanner, _ := New("email", "credit_card", "iban", "ssn", "phone", "ip", "secret", NationalIDs)
	for _, text := range ordinary {
		for _, s := range scanner.ScanCell(nil, []byte(text), 0) {
			t.Errorf("%q: %s %q", text, s.Entity, text[s.Start:s.End])
		}
	}
}
