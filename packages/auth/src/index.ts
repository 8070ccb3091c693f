export {
  AccessControl,
  type AccessControlOptions,
  type Guards,
  type LoginCounters,
  type Members,
  type Review,
} from './access-control.ts';
export type { Authenticator } from './authenticator.ts';
export { type AlternativeName, alternativeNames } from './certificate/alternative-names.ts';
export type { EnhancedExchange, ExchangeStep } from './enhanced-exchange.ts';
export { FileAccessControl, type FileAccessControlOptions } from './file-access-control.ts';
export type { Ban } from './guard/ban.ts';
export { FlappingGuard } from './guard/flapping-guard.ts';
export { LoginGuard } from './guard/login-guard.ts';
export { parseMosquittoAcl } from './mosquitto/acl-file.ts';
export { parseMosquittoPasswords } from './mosquitto/password-file.ts';
export { newCredentials } from './password/new-credentials.ts';
export { PasswordVerifier } from './password/password-verifier.ts';
export { UserAuthenticator } from './password/user-authenticator.ts';
export {
  type Identity,
  type Login,
  type Peer,
  type PeerCertificate,
  type Principal,
} from './principal.ts';
export type { AccessRule, Operation, Resource, ResourcePattern, Who } from './rules/access-rule.ts';
export { isPublishAllowed, PrincipalAccess } from './rules/principal-access.ts';
export { scramMechanisms } from './scram/scram-keys.ts';
export { parseAccessFile } from './store/access-file.ts';
export { accessFileText } from './store/access-file-text.ts';
export { type AccessData, MemoryAccess } from './store/memory-access.ts';
export { nodeTextFiles } from './store/node-text-files.ts';
export type { BanStore, RuleStore, UserStore } from './store/stores.ts';
export type { TextFiles } from './store/text-files.ts';
export type { User, UserCredentials } from './store/user.ts';
export type { LoginResult, Refusal } from './verdict.ts';
