// zigbee-herdsman (npm, MIT), the library of Zigbee2MQTT, with its Ember adapter on a simulated EZSP stick.
//
//     node zigbee_herdsman.js '{"port": "tcp://127.0.0.1:9999", "save": "FOLDER", "module": ".../zigbee-herdsman"}'
//
// Lines of JSON on standard output: {event: "up" | "joined" | "interviewed" | "read" | "error" | ...}. Lines of
// JSON on standard input: {admit: EUI64, code: hex} or {read: EUI64, cluster, attributes}. End of input: stops.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");

const options = JSON.parse(process.argv[2]);
const { Controller, setLogger } = require(options.module);
const tell = (event, fields) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
const warn = (message) => tell("warning", { message: String(typeof message === "function" ? message() : message) });
setLogger({ debug: () => {}, info: () => {}, warning: warn, error: warn });
fs.mkdirSync(options.save, { recursive: true });

const controller = new Controller({
    network: { panID: options.pan, channelList: [options.channel], networkKey: options.networkKey },
    serialPort: { path: options.port, adapter: "ember" },
    databasePath: path.join(options.save, "database.db"),
    databaseBackupPath: path.join(options.save, "database.db.backup"),
    backupPath: path.join(options.save, "backup.json"),
    adapter: {},
    acceptJoiningDeviceHandler: async () => true,
});

const failed = (error) => tell("error", { message: String(error.stack || error) });

async function obey(asked) {
    if (asked.admit) {
        await controller.addInstallCode(`${asked.admit}|${asked.code}`);
        await controller.permitJoin(120);
        tell("admitting", { eui64: asked.admit });
    } else if (asked.read) {
        const endpoint = controller.getDeviceByIeeeAddr(`0x${asked.read}`).getEndpoint(1);
        tell("read", { cluster: asked.cluster, values: await endpoint.read(asked.cluster, asked.attributes) });
    }
}

controller.on("deviceJoined", ({ device }) => tell("joined", { eui64: device.ieeeAddr.slice(2) }));
controller.on("deviceInterview", ({ status, device }) => {
    if (status !== "successful") return;
    const endpoints = device.endpoints.map(({ ID, inputClusters, outputClusters }) => ({
        endpoint: ID,
        input: inputClusters,
        output: outputClusters,
    }));
    tell("interviewed", {
        eui64: device.ieeeAddr.slice(2),
        model: device.modelID,
        manufacturer: device.manufacturerName,
        endpoints,
    });
});
controller.on("adapterDisconnected", () => tell("error", { message: "the stick is gone" }));

async function main() {
    const result = await controller.start();
    const version = await controller.getCoordinatorVersion();
    const network = await controller.getNetworkParameters();
    tell("up", { result, version, network });
    const input = readline.createInterface({ input: process.stdin });
    input.on("line", (line) => obey(JSON.parse(line)).catch(failed));
    input.on("close", async () => {
        await controller.stop().catch(() => {});
        process.exit(0);
    });
}
main().catch((error) => {
    failed(error);
    process.exit(1);
});
