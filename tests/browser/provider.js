// An identity provider (the npm package oidc-provider) at which everybody may sign in by name: `eve` is in the group
// `their-dbas` there, others are in none. Prints its issuer once it answers.
'use strict';

const { generateKeyPairSync } = require('node:crypto');
const http = require('node:http');
const { default: Provider } = require('oidc-provider');

// Nobody reads on after the issuer, and the package tells of itself there.
console.info = () => {};

const { CLIENT_ID, CLIENT_SECRET } = process.env;
const SCOPES = 'openid email groups';

function configuration() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    clients: [{ client_id: CLIENT_ID, client_secret: CLIENT_SECRET, redirect_uris: ['http://127.0.0.1/login/oidc/callback'] }],
    jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
    cookies: { keys: ['only for tests'] },
    pkce: { required: () => true },
    claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    findAccount: (_ctx, id) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, groups: id === 'eve' ? ['their-dbas'] : [] }),
    }),
    async loadExistingGrant({ oidc }) {
      const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
      grant.addOIDCScope(SCOPES);
      await grant.save();
      return grant;
    },
  };
}

async function bodyOf(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return new URLSearchParams(text);
}

const server = http.createServer();
server.listen(0, '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration());
  // The port of the page is not known before.
  provider.Client.prototype.redirectUriAllowed = (uri) => /^http:\/\/127\.0\.0\.1:\d+\/login\/oidc\/callback$/.test(uri);
  const serve = provider.callback();
  server.on('request', async (request, response) => {
    if (!request.url.startsWith('/interaction/')) {
      serve(request, response);
    } else if (request.method === 'POST') {
      const accountId = (await bodyOf(request)).get('login');
      await provider.interactionFinished(request, response, { login: { accountId } }, { mergeWithLastSubmission: false });
    } else {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>Example ID</title><link rel="icon" href="data:,"><form method="post"><input name="login"><button>Continue</button></form>');
    }
  });
  console.log(issuer);
});
