package postgres

import (
	"encoding/json"

	"github.com/jackc/pgx/v5/pgproto3"

	"postern"
)

// maskedOption is the protocol extension with which a client asks to be told
// which values were masked: behind a result's rows then comes a notice with
// the code [postern.MaskedNotice], whose detail is a JSON list of [row, column],
// both from 0. There is none for a result in which nothing was masked.
const maskedOption = "_pq_.postern_masked"

// maxTold bounds how many values of one result are told.
const maxTold = 10_000

// tellMasked sends the notice of a result.
func (r *relay) tellMasked(box *outbox, cells [][2]int) error {
	if len(cells) == 0 {
		return nil
	}
	detail, err := json.Marshal(cells)
	if err != nil {
		return err
	}
	notice := pgproto3.NoticeResponse{
		Severity: "NOTICE", SeverityUnlocalized: "NOTICE", Code: postern.MaskedNotice, Message: "postern: values were masked", Detail: string(detail),
	}
	whole, err := notice.Encode(nil)
	if err != nil {
		return err
	}
	return box.message('N', whole[headerSize:])
}
