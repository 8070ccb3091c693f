export { type JournalServer, type JournalServerOptions, startJournal } from './journal-server.ts';
