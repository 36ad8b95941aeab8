//! The name server on the kernel's io_uring and real sockets: what the simulator cannot show.

#![allow(clippy::disallowed_methods, reason = "the test is a client of its own, with blocking sockets")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use ringmq_namesrv::server::StartError;
use ringmq_namesrv::{Namesrv, NamesrvConfig};
use ringmq_reactor::uring;
use ringmq_remoting::body::{RegisterBrokerBody, TopicRouteData};
use ringmq_remoting::code::{request, response};
use ringmq_transport::properties_file::Properties;
use ringmq_transport::{OwnedResponse, Request};

const PATIENCE: Duration = Duration::from_secs(20);

fn launch(folder: &std::path::Path) -> (uring::Process, SocketAddr) {
    let (process, started) = launch_at(folder, 0);
    let address = started.recv_timeout(PATIENCE).expect("started").expect("serves");
    (process, address)
}

type Started = mpsc::Receiver<Result<SocketAddr, StartError>>;

fn launch_at(folder: &std::path::Path, port: u16) -> (uring::Process, Started) {
    let mut config = NamesrvConfig::new(folder);
    let settings =
        Properties::parse(&format!("bindAddress=127.0.0.1\nlistenPort={port}")).expect("well-formed");
    config.read(&settings).expect("readable");
    let (sender, receiver) = mpsc::channel();
    let spec = Namesrv::process_with(config, Box::new(move |outcome| sender.send(outcome).expect("awaited")));
    let process = uring::launch(spec, uring::Options::default()).expect("a kernel with io_uring");
    (process, receiver)
}

struct Peer(TcpStream);

impl Peer {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        Self(stream)
    }

    fn call(&mut self, request: &Request) -> OwnedResponse {
        self.0.write_all(&request.encode(1, false)).expect("sent");
        let mut frame = vec![0; 4];
        self.0.read_exact(&mut frame).expect("a length");
        let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        frame.resize(4 + length, 0);
        self.0.read_exact(&mut frame[4..]).expect("a frame");
        OwnedResponse::parse(Bytes::from(frame)).expect("a response")
    }
}

fn registration() -> Request {
    let table =
        r#""T":{"topicName":"T","perm":6,"readQueueNums":4,"writeQueueNums":4},"U":{"topicName":"U"}"#;
    let body = format!(r#"{{"topicConfigSerializeWrapper":{{"topicConfigTable":{{{table}}}}}}}"#);
    RegisterBrokerBody::from_json(body.as_bytes()).expect("a registration");
    Request::new(request::REGISTER_BROKER)
        .str("clusterName", "C")
        .str("brokerName", "broker-a")
        .str("brokerAddr", "127.0.0.1:10911")
        .str("haServerAddr", "127.0.0.1:10912")
        .int("brokerId", 0)
        .body(body)
}

#[test]
fn it_serves_stores_and_stops_on_the_kernel() {
    let folder = tempfile::tempdir().expect("a folder");
    let (process, address) = launch(folder.path());

    let mut client = Peer::new(address);
    let route = Request::new(request::GET_ROUTEINFO_BY_TOPIC).str("topic", "T");
    assert_eq!(client.call(&route).code(), response::TOPIC_NOT_EXIST);

    let mut broker = Peer::new(address);
    assert_eq!(broker.call(&registration()).code(), response::SUCCESS);
    let found = client.call(&route);
    let data = TopicRouteData::from_json(&found.body()).expect("a route");
    assert_eq!(data.broker_datas[0].broker_addrs[&0], "127.0.0.1:10911");

    // Bad input ends its own connection only.
    let mut bad = Peer::new(address);
    bad.0.write_all(&[0x7f; 64]).expect("sent");
    assert_eq!(bad.0.read(&mut [0; 16]).expect("closed in order"), 0);
    drop(bad);
    assert_eq!(client.call(&route).code(), response::SUCCESS);

    // A broker that disconnects is gone.
    drop(broker);
    let gone = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        client.call(&route).code() == response::TOPIC_NOT_EXIST
    });
    assert!(gone, "the route is still there two seconds after the broker left");

    let put = Request::new(request::PUT_KV_CONFIG).str("namespace", "n").str("key", "k").str("value", "v");
    assert_eq!(client.call(&put).code(), response::SUCCESS);
    process.stop();
    process.wait().expect("ended in order");

    // What was answered is there after a restart.
    let (process, address) = launch(folder.path());
    let get = Request::new(request::GET_KV_CONFIG).str("namespace", "n").str("key", "k");
    assert_eq!(Peer::new(address).call(&get).field("value").as_deref(), Some("v"));
    process.stop();
    process.wait().expect("ended in order");
}

#[test]
fn a_port_that_a_dying_predecessor_holds_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let predecessor = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = predecessor.local_addr().expect("bound");
    let (process, started) = launch_at(folder.path(), address.port());
    assert!(started.recv_timeout(Duration::from_millis(200)).is_err(), "it neither serves nor gives up");
    drop(predecessor);
    assert_eq!(started.recv_timeout(PATIENCE).expect("started").expect("serves"), address);
    process.stop();
    process.wait().expect("ended in order");
}
