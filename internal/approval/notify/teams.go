package notify

// teamsMessage words a message as Microsoft Teams' incoming webhooks take it: an
// Adaptive Card in an attachment. Its only action is a link, since a webhook has
// no way back that says who clicked.
func teamsMessage(m Message) object {
	color := "Default"
	if m.Urgent {
		color = "Attention"
	}
	body := []object{richText(object{"type": "TextRun", "text": m.Title, "weight": "Bolder", "size": "Medium", "color": color})}
	for _, f := range m.Facts {
		body = append(body, richText(
			object{"type": "TextRun", "text": f.Name + ": ", "weight": "Bolder"}, object{"type": "TextRun", "text": f.Value},
		))
	}
	if m.Shown != "" {
		body = append(body, richText(object{"type": "TextRun", "text": m.Shown, "fontType": "Monospace"}))
	}
	title := "Look at it"
	if m.Open {
		title = "Look at it and decide"
	}
	return object{
		"type": "message",
		"attachments": []object{{
			"contentType": "application/vnd.microsoft.card.adaptive",
			"contentUrl":  nil,
			"content": object{
				"$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
				"type":    "AdaptiveCard",
				"version": "1.4",
				"body":    body,
				"actions": []object{{"type": "Action.OpenUrl", "title": title, "url": m.URL}},
			},
		}},
	}
}

// richText is text in runs. Unlike a TextBlock it is no Markdown, which would
// make a link of what somebody else chose that says one thing and leads elsewhere.
func richText(runs ...object) object { return object{"type": "RichTextBlock", "inlines": runs} }
