// An OpenID provider in memory: client credentials, introspection, revocation, and JWT access
// tokens for a resource. Says its port in a first line of JSON. Arguments: the life of tokens in
// seconds, and the port where it is to be the same again.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const modules = createRequire(`${process.env.OIDC_MODULES}/`);
const { default: Provider } = await import(pathToFileURL(modules.resolve('oidc-provider')));

const life = Number(process.argv[2] ?? 60);
const server = createServer();
server.listen(Number(process.argv[3] ?? 0), '127.0.0.1', () => {
  const { port } = server.address();
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    clients: [
      {
        client_id: 'gateway',
        client_secret: 'a secret: of 30% +',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    scopes: ['orders:read', 'orders:write'],
    ttl: { ClientCredentials: () => life },
    features: {
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: () => ({
          scope: 'orders:read orders:write',
          audience: 'https://api.example',
          accessTokenTTL: life,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'RS256' } },
        }),
      },
    },
  });
  server.on('request', provider.callback());
  console.log(JSON.stringify({ port }));
});
// Whoever started it has gone.
process.stdin.on('end', () => process.exit(0)).resume();
