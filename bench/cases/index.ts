/** Every figure, in the order of the report. A new one is a file here and a line below. */
import type { BenchCase } from '../harness/case.ts';
import agentBoot from './agent_boot_10k.ts';
import agentRss from './agent_rss_100k.ts';
import api from './api.ts';
import change from './change.ts';
import connBytes from './conn_bytes.ts';
import connectionSetup from './connection_setup.ts';
import expiryScan from './expiry_scan.ts';
import firstPacket from './first_packet.ts';
import flowSetup from './flow_setup.ts';
import migrationOutage from './migration_outage.ts';
import progHit from './prog_hit.ts';
import restartLoss from './restart_loss.ts';
import rrTcp from './rr_tcp.ts';
import sim from './sim.ts';
import statePush from './state_push.ts';
import tcpGre from './tcp_gre.ts';
import tcpGreWire from './tcp_gre_wire.ts';
import tcpVxlan from './tcp_vxlan.ts';
import tcpVxlanWire from './tcp_vxlan_wire.ts';
import userspaceTcp from './userspace_tcp.ts';
import zkChange from './zk_change.ts';
import zkChange100 from './zk_change_100.ts';
import zkClientOps from './zk_client_ops.ts';

export const CASES: readonly BenchCase[] = [
  tcpGre,
  tcpVxlan,
  tcpGreWire,
  tcpVxlanWire,
  userspaceTcp,
  rrTcp,
  progHit,
  firstPacket,
  flowSetup,
  connectionSetup,
  migrationOutage,
  statePush,
  connBytes,
  expiryScan,
  sim,
  agentRss,
  agentBoot,
  change,
  restartLoss,
  api,
  zkClientOps,
  zkChange,
  zkChange100,
];
