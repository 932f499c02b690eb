// zigbee-on-host (npm, GPL-3.0) as the host of a stick: forms, permits joining, tells what it hears.
//
//     node zigbee_on_host.js '{"port": "tcp://127.0.0.1:9999", "save": "FILE", "module": ".../ot-rcp-driver.js"}'
//
// Lines of JSON on standard output: {event: "up" | "joined" | "frame" | "authorized" | ...}. A line of JSON on
// standard input sends: {to16, cluster, profile, endpoint, payload (hex)}. End of input: stops.
"use strict";
const fs = require("node:fs");
const net = require("node:net");
const readline = require("node:readline");
const tty = require("node:tty");

const options = JSON.parse(process.argv[2]);
const { OTRCPDriver } = require(options.module);
const tell = (event, fields) => process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
const eui64 = (value) => (value === undefined ? null : value.toString(16).padStart(16, "0"));

const driver = new OTRCPDriver(
    {
        onFatalError: (message) => tell("fatal", { message }),
        onMACFrame: () => {},
        onGPFrame: () => {},
        onFrame: (source16, source64, header, payload) =>
            tell("frame", {
                source16,
                source64: eui64(source64),
                cluster: header.clusterId,
                profile: header.profileId,
                sourceEndpoint: header.sourceEndpoint,
                payload: Buffer.from(payload).toString("hex"),
            }),
        onDeviceJoined: (source16, source64) => tell("joined", { source16, source64: eui64(source64) }),
        onDeviceRejoined: (source16, source64) => tell("rejoined", { source16, source64: eui64(source64) }),
        onDeviceLeft: (source16, source64) => tell("left", { source16, source64: eui64(source64) }),
        onDeviceAuthorized: (source16, source64) => tell("authorized", { source16, source64: eui64(source64) }),
    },
    {
        txChannel: options.channel,
        ccaBackoffAttempts: 4,
        ccaRetries: 3,
        enableCSMACA: true,
        headerUpdated: true,
        reTx: false,
        securityProcessed: true,
        txDelay: 0,
        txDelayBaseTime: 0,
        rxChannelAfterTxDone: options.channel,
    },
    {
        eui64: BigInt(`0x${options.eui64}`),
        panId: options.pan,
        extendedPanId: BigInt(`0x${options.eui64}`),
        channel: options.channel,
        nwkUpdateId: 0,
        txPower: 10,
        networkKey: Buffer.from(options.networkKey, "hex"),
        networkKeyFrameCounter: 0,
        networkKeySequenceNumber: 0,
        tcKey: Buffer.from("ZigBeeAlliance09"),
        tcKeyFrameCounter: 0,
    },
    options.save,
);

function connect() {
    if (options.port.startsWith("tcp://")) {
        const [host, port] = options.port.slice("tcp://".length).split(":");
        const socket = net.connect(Number(port), host);
        socket.setNoDelay(true);
        return [socket, (octets) => socket.write(octets), () => socket.destroy()];
    }
    const fd = fs.openSync(options.port, fs.constants.O_RDWR | fs.constants.O_NOCTTY);
    const stream = new tty.ReadStream(fd);
    return [stream, (octets) => fs.writeSync(fd, octets), () => stream.destroy()];
}

async function main() {
    const [input, write, close] = connect();
    driver.writer.on("data", write);
    driver.parser.on("data", (frame) => driver.onFrame(frame).catch((error) => tell("error", { error: String(error) })));
    input.pipe(driver.parser);
    await driver.start();
    await driver.formNetwork();
    driver.context.allowJoins(254, true);
    tell("up", { version: driver.ncpVersion, api: driver.rcpAPIVersion, protocol: driver.protocolVersionMajor });

    const lines = readline.createInterface({ input: process.stdin });
    lines.on("line", (line) => {
        const ask = JSON.parse(line);
        driver
            .sendUnicast(Buffer.from(ask.payload, "hex"), ask.profile, ask.cluster, ask.to16, undefined, ask.endpoint, 1)
            .then((counter) => tell("sent", { counter }))
            .catch((error) => tell("error", { error: String(error) }));
    });
    lines.on("close", async () => {
        await driver.stop().catch((error) => tell("error", { error: String(error) }));
        close();
        process.exit(0);
    });
}

main().catch((error) => {
    tell("fatal", { message: String(error.stack ?? error) });
    process.exit(1);
});
