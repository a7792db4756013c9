package postgres

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"postern"
	"postern/internal/protocol"
	"postern/internal/protocol/protocoltest"
	"postern/test/pgcluster"
)

func TestContract(t *testing.T) {
	c := cluster.Get(t)
	c.Exec(t, "postgres", "drop table if exists traces; create table traces (marker text)")
	protocoltest.Run(t, contractPeer{c})
}

type contractPeer struct{ cluster *pgcluster.Cluster }

func (contractPeer) Protocol(o protocol.Options) protocol.Protocol { return New(o) }

func (p contractPeer) Upstream(t testing.TB) (string, map[string]postern.Login) {
	p.cluster.Exec(t, "postgres", "truncate traces")
	return "{kind: Resource, name: " + protocoltest.Resource + ", type: postgres, address: '" + p.cluster.Addr + "', database: postgres, tls: {mode: disable}, credentials: {username: postgres}}",
		map[string]postern.Login{"postgres": {Username: "postgres", Password: postern.NewSecret(p.cluster.Password)}}
}

func (contractPeer) Echo(marker string) string { return "select '" + marker + "'" }
func (contractPeer) Touch(marker string) string {
	return "insert into traces values ('" + marker + "')"
}

func (p contractPeer) Traces(t testing.TB, marker string) int {
	n, err := strconv.Atoi(p.cluster.Exec(t, "postgres", "select count(*) from traces where marker = '"+marker+"'")[0][0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (contractPeer) Login(ctx context.Context, conn net.Conn, user, resource, token string) (protocoltest.Client, error) {
	config, err := pgconn.ParseConfig("host=gateway sslmode=disable")
	if err != nil {
		return nil, err
	}
	config.User, config.Password, config.Database = user, token, resource
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	config.DialFunc = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	pg, err := pgconn.ConnectConfig(ctx, config)
	var told *pgconn.PgError
	if errors.As(err, &told) {
		// The same for everybody; what pgconn says besides names the user.
		return nil, told
	}
	if err != nil {
		return nil, err
	}
	return contractClient{pg, conn}, nil
}

type contractClient struct {
	*pgconn.PgConn
	conn net.Conn
}

func (c contractClient) Do(ctx context.Context, command string) (string, error) {
	results, err := c.Exec(ctx, command).ReadAll()
	out := ""
	for _, result := range results {
		for _, row := range result.Rows {
			for _, value := range row {
				out += string(value)
			}
		}
	}
	return out, err
}

func (c contractClient) Ended(ctx context.Context) (string, error) {
	var last *pgconn.PgError
	if err := c.WaitForNotification(ctx); !errors.As(err, &last) {
		return "", err
	}
	return last.Message, nil
}

func (c contractClient) Close() error { return c.conn.Close() }
