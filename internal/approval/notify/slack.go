package notify

import "strings"

// The actions of Slack's buttons.
const (
	actionApprove = "postern_approve"
	actionDeny    = "postern_deny"
	actionOpen    = "postern_open"
)

// object is a JSON object of Block Kit.
type object = map[string]any

// plainText is text in which nothing is marked up: no link, no mention.
func plainText(text string) object {
	return object{"type": "plain_text", "text": text, "emoji": false}
}

// slackMessage words a message in Block Kit. Approving and denying are offered
// where everything that would happen is shown: who approves what they can't see
// approves something else. answers says whether clicks can come back.
func slackMessage(m Message, answers bool) object {
	blocks := []object{{"type": "header", "text": plainText(m.Title)}}
	var fields []object
	for _, f := range m.Facts {
		if len(fields) == 10 { // as many as a section takes
			break
		}
		fields = append(fields, plainText(f.Name+": "+f.Value))
	}
	blocks = append(blocks, object{"type": "section", "fields": fields})
	if m.Shown != "" {
		blocks = append(blocks, object{"type": "rich_text", "elements": []object{
			{"type": "rich_text_preformatted", "elements": []object{{"type": "text", "text": m.Shown}}},
		}})
	}
	buttons := []object{{"type": "button", "action_id": actionOpen, "text": plainText("Look at it"), "url": m.URL}}
	if m.Open && m.Whole && answers {
		value := m.Review + "|" + m.Digest
		buttons = append(buttons,
			object{
				"type": "button", "action_id": actionApprove, "style": "primary", "text": plainText("Approve"), "value": value,
				"confirm": object{
					"title": plainText("Approve this?"), "text": plainText("Exactly what is shown is approved, under your name."),
					"confirm": plainText("Approve"), "deny": plainText("Back"),
				},
			},
			object{"type": "button", "action_id": actionDeny, "style": "danger", "text": plainText("Deny"), "value": value},
		)
	}
	return object{
		"text":   mrkdwnEscaper().Replace(m.Title), // where blocks aren't shown
		"blocks": append(blocks, object{"type": "actions", "block_id": "postern", "elements": buttons}),
	}
}

// mrkdwnEscaper escapes the three letters that Slack's text gives a meaning to.
func mrkdwnEscaper() *strings.Replacer {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")
}
