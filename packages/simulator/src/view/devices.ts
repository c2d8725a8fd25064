/** Bridges and routers as the simulator walks them. */
import type { RouteTable } from './route-table.ts';

export interface SimBridge {
  readonly handle: number;
  readonly id: string;
  readonly adminUp: boolean;
  readonly inFilter: number;
  readonly outFilter: number;
  readonly floodKey: number;
  /** Ports that lead somewhere (bound or linked), ascending by UUID. */
  readonly members: Int32Array;
  /** Exterior ones among them. */
  readonly exterior: readonly number[];
  /** Whether some port is linked to a router: then gratuitous ARP and unsolicited advertisements concern someone inside. */
  readonly hasRouters: boolean;
}

export interface SimRouter {
  readonly handle: number;
  readonly id: string;
  readonly adminUp: boolean;
  readonly inFilter: number;
  readonly outFilter: number;
  /** Chains before the in filter and before the out filter. */
  readonly redirectChain: number;
  readonly forwardChain: number;
  readonly routes: RouteTable;
}
