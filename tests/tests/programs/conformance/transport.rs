//! The programs use TCP, which is an ordered, lossless stream of bytes in both directions.

use tests::{Broker, Program, RawClient};

use super::bytes::*;
use super::record::{End, hex, proves};

#[test]
fn server_and_client_communicate_over_tcp() {
    let broker = Broker::start("");
    for version in [4, 5] {
        let mut raw = RawClient::open(broker.address());
        raw.send(&Vec::from(connect(version, "raw")));
        let expected = accepted(version, false);
        let connack = raw.read(expected.len());
        let statements = "3.1.1:MQTT-7.1.1-1 5.0:MQTT-4.2-1";
        proves(
            End::Server,
            version,
            statements,
            hex(&connack),
            hex(&expected),
        );

        raw.send(&subscribe(version, 1, &[("t", 0)]));
        raw.read(suback(version, 1, &[0]).len());
        let name = if version == 5 { "5" } else { "311" };
        let options = format!("{} -V {name} -t t -m x", broker.options());
        Program::new("rpub").args(&options).run().success();
        let expected = Vec::from(publish(version, "t", "x"));
        let message = raw.read(expected.len());
        let statements = "3.1.1:MQTT-7.1.2-1 5.0:MQTT-4.2-1";
        proves(
            End::Client,
            version,
            statements,
            hex(&message),
            hex(&expected),
        );
    }
}
