/** Commands that need root's view of a lab, run by a user who is not root: they go on in the user's own namespaces. */

/**
 * Runs this very command line there and ends with its status; returns where nothing is to be done: for root, and where the user
 * has no lab (the command itself then says so).
 * @param create the command brings a lab up: make the namespaces if there are none
 */
export async function asOwnRoot(create: boolean): Promise<void> {
  const { needsUserNamespace, runAsOwnRoot } = await import('@weft/lab');
  if (!needsUserNamespace()) return;
  const status = await runAsOwnRoot([process.execPath, ...process.argv.slice(1)], create);
  if (status !== undefined) process.exit(status);
}
