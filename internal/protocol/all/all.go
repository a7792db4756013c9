// Package all is the list of the protocols that the gateway speaks.
package all

import (
	"postern/internal/protocol"
	"postern/internal/protocol/postgres"
	"postern/internal/protocol/ssh"
)

// List makes every protocol, in the order in which people are shown them.
func List(o protocol.Options) []protocol.Protocol {
	return []protocol.Protocol{
		postgres.New(o),
		ssh.New(o),
	}
}
