/*
 * Compiled into PostgreSQL's isolationtester, which looks up who blocks whom
 * by process ids: the server's own, where libpq behind a gateway knows the
 * gateway's.
 */
#include "libpq-fe.h"
#include <stdlib.h>

static struct
{
	PGconn *conn;
	int pid;
} known_pids[64];

/* Asks the server, the first time that it is called with a connection. */
static int server_pid(PGconn *conn)
{
	PGresult *res;
	int i;

	for (i = 0; i < 63 && known_pids[i].conn; i++)
	{
		if (known_pids[i].conn == conn)
			return known_pids[i].pid;
	}
	res = PQexec(conn, "SELECT pg_catalog.pg_backend_pid()");
	known_pids[i].conn = conn;
	known_pids[i].pid = PQntuples(res) == 1 ? atoi(PQgetvalue(res, 0, 0)) : 0;
	PQclear(res);
	return known_pids[i].pid;
}

/* A connection's own notifications bear the process id that libpq knows. */
static PGnotify *server_notifies(PGconn *conn)
{
	PGnotify *notify = PQnotifies(conn);

	if (notify && notify->be_pid == PQbackendPID(conn))
		notify->be_pid = server_pid(conn);
	return notify;
}

#define PQbackendPID server_pid
#define PQnotifies server_notifies
