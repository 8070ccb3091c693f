export { type BrokerOptions, type BrokerServer, startBroker } from './broker-server.ts';
