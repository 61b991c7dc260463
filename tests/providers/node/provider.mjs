// The certified provider of OpenID Connect, on loopback, with one client and as many people as log in.
// node provider.mjs CLIENT SECRET CALLBACK [CALLBACK …] prints its issuer once it listens, and ends with its input.
import { createServer } from "node:http";
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { Provider } from "oidc-provider";

const [client, secret, ...callbacks] = process.argv.slice(2);
const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

// Whoever logs in as NAME is NAME@example.com; admins have the role.
const describe = (name) => ({
  sub: name,
  name,
  email: `${name}@example.com`,
  email_verified: name !== "unverified",
  role: name.startsWith("admin") ? ["admin", "staff"] : ["staff"],
});

const server = createServer();
server.listen(0, "127.0.0.1", () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{ client_id: client, client_secret: secret, redirect_uris: callbacks, grant_types: ["authorization_code"] }],
    claims: { openid: ["sub"], profile: ["name"], email: ["email", "email_verified"], work: ["role"], amr: null },
    scopes: ["openid", "profile", "email", "work"],
    findAccount: (_, id) => ({ accountId: id, claims: () => describe(id) }),
    pkce: { required: () => true },
    cookies: { keys: [randomBytes(32).toString("hex")] },
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), use: "sig", alg: "RS256", kid: "provider-1" }] },
    features: { devInteractions: { enabled: true } },
  });
  server.on("request", provider.callback());
  console.log(issuer);
});
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
