// An OpenID Connect provider: npm's oidc-provider, as it comes. Its own pages
// sign anybody in under the name that they type.
//
//	node provider.mjs PORT REDIRECT_URI SECRET
//
// It prints "ready", and revokes everything of everybody on a line "revoke".
import { createInterface } from 'node:readline';
import Provider from 'oidc-provider';

const [port, redirect, secret] = process.argv.slice(2);
const groups = { erin: ['engineering'], mallory: [] };
const grants = new Set();

const provider = new Provider(`http://127.0.0.1:${port}`, {
	clients: [{ client_id: 'postern', client_secret: secret, redirect_uris: [redirect], grant_types: ['authorization_code', 'refresh_token'] }],
	claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email', 'email_verified'] },
	// Only sub is in the ID token: names and groups come from userinfo.
	conformIdTokenClaims: true,
	pkce: { required: () => true },
	issueRefreshToken: async () => true,
	rotateRefreshToken: true,
	cookies: { keys: ['of a test'] },
	findAccount: (ctx, id) => ({
		accountId: id,
		claims: () => ({ sub: id, preferred_username: id, email: `${id}@example.com`, email_verified: true, groups: groups[id] ?? [] }),
	}),
});
provider.on('grant.success', (ctx) => grants.add(ctx.oidc.entities.Grant));
provider.listen(Number(port), '127.0.0.1', () => console.log('ready'));

for await (const line of createInterface({ input: process.stdin })) {
	if (line === 'revoke') {
		for (const grant of grants) {
			await provider.RefreshToken.revokeByGrantId(grant.jti);
			await grant.destroy();
		}
		console.log(`revoked ${grants.size}`);
	}
}
process.exit(0);
