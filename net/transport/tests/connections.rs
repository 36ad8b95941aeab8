//! Both sides of a connection against each other in the simulated world.

#[path = "support/echo.rs"]
mod echo;
mod support;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use echo::{ASK, ECHO, LARGE, LATER, NEVER, PORT, RELAY, Seen, WHO};
use ringmq_reactor::TaskIo;
use ringmq_reactor::sim::{HostId, ProcessId, World};
use ringmq_transport::client::{Answer, EndCause};
use ringmq_transport::limits::{IN_FLIGHT_BYTES_HIGH, UNSENT_BYTES_MAX};
use ringmq_transport::server::ServerOptions;
use ringmq_transport::{CallError, Client, ClientOptions, Request};
use support::{address, run, world};

const TIMEOUT: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(3600);

struct Setup {
    world: World,
    hosts: Vec<HostId>,
    server: ProcessId,
    seen: Arc<Mutex<Seen>>,
}

impl Setup {
    fn new(seed: u64) -> Self {
        Self::with(seed, ServerOptions::default())
    }

    fn with(seed: u64, options: ServerOptions) -> Self {
        let (mut world, hosts) = world(seed, 3);
        let seen = Arc::default();
        let server = world.start(hosts[0], echo::echo(options, &seen));
        world.run_for(Duration::from_secs(1));
        Self { world, hosts, server, seen }
    }

    fn run<T: Send + 'static, Fut: Future<Output = T> + 'static>(
        &mut self,
        script: impl FnOnce(TaskIo, Client) -> Fut + Send + 'static,
    ) -> T {
        run(&mut self.world, self.hosts[1], LIMIT, |io| {
            let client = Client::new(io.clone(), ClientOptions::default());
            script(io, client)
        })
    }

    fn seen(&self) -> Seen {
        self.seen.lock().expect("one thread").clone()
    }
}

fn server() -> std::net::SocketAddr {
    address(1, PORT)
}

#[test]
fn answers_find_their_requests_in_any_order_on_one_connection() {
    let mut setup = Setup::new(1);
    setup.run(|io, client| async move {
        let order = Rc::new(RefCell::new(Vec::new()));
        for n in 0..10_i64 {
            let (client, order) = (client.clone(), Rc::clone(&order));
            io.spawn(async move {
                let request = Request::new(LATER).int("ms", 1000 - 100 * n);
                client.call(server(), &request, TIMEOUT).await.expect("an answer");
                order.borrow_mut().push(n);
            });
        }
        let echoed =
            client.call(server(), &Request::new(ECHO).body(&b"hello"[..]), TIMEOUT).await.expect("an answer");
        assert_eq!((echoed.code(), &echoed.body()[..]), (0, &b"hello"[..]));
        io.sleep(Duration::from_secs(2)).await;
        assert_eq!(*order.borrow(), [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
        assert_eq!(client.connection_count(), 1);
    });
    assert_eq!(setup.seen().counters.accepted, 1);
}

#[test]
fn a_call_without_answer_times_out_and_the_connection_goes_on() {
    let mut setup = Setup::new(2);
    setup.run(|_, client| async move {
        let error = client.call(server(), &Request::new(NEVER), TIMEOUT).await.expect_err("no answer");
        assert!(matches!(error, CallError::Timeout { .. }), "{error}");
        client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("an answer");
        // One-way requests are never answered.
        client.notify(server(), &Request::new(ECHO)).await.expect("sent");
        client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("an answer");
    });
    assert_eq!(setup.seen().frames, [NEVER, ECHO, ECHO, ECHO]);
    assert_eq!(setup.seen().counters.accepted, 1);
}

#[test]
fn calls_learn_of_a_dead_server_and_the_next_one_reconnects() {
    let mut setup = Setup::new(3);
    let ended = Arc::new(Mutex::new(None));
    let slot = Arc::clone(&ended);
    let client_process = support::script(move |io: TaskIo| async move {
        let client = Client::new(io.clone(), ClientOptions::default());
        let error = client.call(server(), &Request::new(NEVER), LIMIT).await.expect_err("no answer");
        assert!(matches!(error, CallError::Ended { .. }), "{error}");
        let error = client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect_err("nobody listens");
        assert!(matches!(error, CallError::Connect { .. }), "{error}");
        io.sleep(Duration::from_secs(10)).await;
        client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("an answer");
        *slot.lock().expect("one thread") = Some(());
    });
    setup.world.start(setup.hosts[1], client_process);
    setup.world.run_for(Duration::from_secs(5));
    setup.world.kill(setup.server);
    setup.world.run_for(Duration::from_secs(5));
    setup.world.start(setup.hosts[0], echo::echo(ServerOptions::default(), &setup.seen));
    setup.world.run_for(Duration::from_secs(20));
    assert!(ended.lock().expect("one thread").is_some(), "the script has ended");
}

#[test]
fn idle_connections_are_closed_after_two_minutes() {
    let mut setup = Setup::new(4);
    setup.run(|io, _| async move {
        let patient = ClientOptions { idle_after: LIMIT, ..ClientOptions::default() };
        let client = Client::new(io.clone(), patient);
        client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("an answer");
        io.sleep(Duration::from_secs(119)).await;
        assert_eq!(client.connection_count(), 1);
        client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("an answer");
        io.sleep(Duration::from_secs(119)).await;
        assert_eq!(client.connection_count(), 1, "it was used meanwhile");
        io.sleep(Duration::from_secs(12)).await;
        assert_eq!(client.connection_count(), 0);
    });
    assert_eq!(setup.seen().counters.idle, 1);
}

#[test]
fn a_client_closes_its_own_idle_connections() {
    let mut setup = Setup::with(5, ServerOptions { idle_after: LIMIT, ..ServerOptions::default() });
    setup.run(|io, client| async move {
        client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("an answer");
        io.sleep(Duration::from_secs(241)).await;
        assert_eq!(client.connection_count(), 0);
    });
    assert_eq!(setup.seen().counters.idle, 0);
}

#[test]
fn bad_input_ends_its_own_connection_and_no_other() {
    let bad: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0],
        &[0, 0, 0, 2, 0, 0],
        &[0, 0, 0, 8, 9, 0, 0, 4, b'{', b'}', b'{', b'}'],
        &[0, 0, 0, 8, 0, 0, 0, 4, b'{', b'"', b'c', b'o'],
        &[0x16, 3, 1, 2, 0, 1],
        b"PROXY TCP4 nonsense\r\n",
    ];
    let mut setup = Setup::new(6);
    setup.run(move |io, client| async move {
        client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("an answer");
        for bytes in bad {
            let raw = io.connect(server()).await.expect("connected");
            // What was asked before in good order is still answered.
            raw.send(Request::new(ECHO).body(&b"before"[..]).encode(7, false)).expect("open");
            if bytes[0] < 2 {
                raw.send(Bytes::from_static(bytes)).expect("open");
            } else {
                io.sleep(Duration::from_millis(10)).await;
                raw.send(Bytes::from_static(bytes)).expect("open");
            }
            let mut answer = Vec::new();
            while let Some(piece) = raw.recv().await.expect("closed in order") {
                answer.extend_from_slice(&piece);
            }
            assert!(answer.ends_with(b"before"), "{bytes:02x?}");
            client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("an answer");
        }
        assert_eq!(client.connection_count(), 1);
    });
    let seen = setup.seen();
    assert_eq!((seen.counters.malformed, seen.counters.accepted), (7, 8));
    assert_eq!(seen.connections, 1);
}

#[test]
fn the_client_behind_a_proxy_is_known_by_its_own_address() {
    let mut setup = Setup::new(7);
    setup.run(|io, _| async move {
        let raw = io.connect(server()).await.expect("connected");
        let mut bytes = b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 10911\r\n".to_vec();
        bytes.extend_from_slice(&Request::new(WHO).encode(1, false));
        for byte in bytes {
            raw.send(Bytes::from(vec![byte])).expect("open");
        }
        let answer = raw.recv().await.expect("open").expect("an answer");
        assert!(answer.ends_with(b"192.0.2.7:40000"), "{answer:?}");
    });
}

#[test]
fn a_full_table_refuses_new_connections_and_keeps_the_old() {
    let mut setup = Setup::with(8, ServerOptions { connections_max: 2, ..ServerOptions::default() });
    setup.run(|io, _| async move {
        let clients: Vec<_> = (0..3).map(|_| Client::new(io.clone(), ClientOptions::default())).collect();
        let call = async |n: usize| clients[n].call(server(), &Request::new(ECHO), TIMEOUT).await;
        call(0).await.expect("an answer");
        call(1).await.expect("an answer");
        call(2).await.expect_err("closed at once");
        call(0).await.expect("an answer");
        clients[1].disconnect(server());
        io.sleep(Duration::from_secs(1)).await;
        call(2).await.expect("there is room again");
    });
    assert_eq!(setup.seen().counters.refused, 1);
}

#[test]
fn requests_in_flight_are_bounded_by_not_reading() {
    const COUNT: usize = 100;
    let mut setup = Setup::new(9);
    let answered = setup.run(|io, client| async move {
        let answered = Rc::new(Cell::new(0));
        let body = Bytes::from(vec![0; 1 << 20]);
        for n in 0..COUNT as u64 {
            let (client, answered, io) = (client.clone(), Rc::clone(&answered), io.clone());
            let request = Request::new(LATER).int("ms", 2000).body(body.clone());
            io.clone().spawn(async move {
                io.sleep(Duration::from_millis(n)).await;
                // While the server does not read, the client's own bound is met too.
                while let Err(error) = client.call(server(), &request, LIMIT).await {
                    assert!(matches!(error, CallError::Overloaded { .. }), "{error}");
                    io.sleep(Duration::from_millis(50)).await;
                }
                answered.set(answered.get() + 1);
            });
        }
        while answered.get() < COUNT {
            io.sleep(Duration::from_millis(100)).await;
        }
        answered.get()
    });
    let seen = setup.seen();
    assert_eq!(answered, COUNT);
    assert!(seen.in_flight_bytes_max >= IN_FLIGHT_BYTES_HIGH, "the bound was met: {seen:?}");
    // One more frame may be admitted before the bound shows.
    assert!(seen.in_flight_bytes_max < IN_FLIGHT_BYTES_HIGH + (2 << 20), "{}", seen.in_flight_bytes_max);
}

#[test]
fn a_peer_that_does_not_read_stops_being_read_and_recovers() {
    let mut setup = Setup::new(10);
    setup.run(|io, client| async move {
        let raw = io.connect(server()).await.expect("connected");
        for opaque in 0..60 {
            raw.send(Request::new(LARGE).int("bytes", 1 << 20).encode(opaque, false)).expect("open");
            io.sleep(Duration::from_millis(10)).await;
        }
        io.sleep(Duration::from_secs(5)).await;
        client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("others are served");
        let mut bytes = 0;
        while bytes < 60 << 20 {
            bytes += raw.recv().await.expect("open").expect("not closed").len();
        }
    });
    let seen = setup.seen();
    assert_eq!(seen.counters.slow, 0);
    assert!(seen.unsent_bytes_max < 12 << 20, "reading stopped in time: {}", seen.unsent_bytes_max);
}

#[test]
fn a_peer_that_never_reads_is_closed_before_it_costs_too_much() {
    let mut setup = Setup::new(11);
    setup.run(|io, client| async move {
        let raw = io.connect(server()).await.expect("connected");
        // All in one piece: received before the first answer shows that nobody reads.
        let mut requests = Vec::new();
        for opaque in 0..60 {
            requests.extend_from_slice(&Request::new(LARGE).int("bytes", 8 << 20).encode(opaque, false));
        }
        raw.send(Bytes::from(requests)).expect("open");
        io.sleep(Duration::from_secs(300)).await;
        client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("others are served");
    });
    let seen = setup.seen();
    assert!(seen.unsent_bytes_max <= UNSENT_BYTES_MAX + (9 << 20), "{}", seen.unsent_bytes_max);
    assert_eq!(seen.connections, 1, "the silent one is gone");
}

#[test]
fn peers_that_do_not_read_share_a_limit_and_the_one_that_holds_most_goes_first() {
    let options = ServerOptions { unsent_bytes_total_max: 18 << 20, ..ServerOptions::default() };
    let mut setup = Setup::with(13, options);
    setup.run(|io, client| async move {
        let mut peers = Vec::new();
        for megabytes in [24, 6, 6, 6] {
            let raw = io.connect(server()).await.expect("connected");
            let mut requests = Vec::new();
            for opaque in 0..megabytes {
                requests.extend_from_slice(&Request::new(LARGE).int("bytes", 1 << 20).encode(opaque, false));
            }
            raw.send(Bytes::from(requests)).expect("open");
            io.sleep(Duration::from_secs(1)).await;
            peers.push(raw);
        }
        io.sleep(Duration::from_secs(20)).await;
        client.call(server(), &Request::new(ECHO), TIMEOUT).await.expect("others are served");
        // The greediest is closed; a modest one gets everything, late as it is.
        let mut bytes = 0;
        while bytes < 6 << 20 {
            bytes += peers[3].recv().await.expect("open").expect("not closed").len();
        }
    });
    let seen = setup.seen();
    assert_eq!(seen.counters.slow, 1);
}

#[test]
fn a_server_asks_its_client_and_relays_the_answer() {
    let mut setup = Setup::new(12);
    setup.run(|io, _| async move {
        let options = ClientOptions {
            on_request: Some(Rc::new(|_, command| {
                let known = command.code == ASK && command.field("why").as_deref() == Some("test");
                known.then(|| Answer { code: 0, remark: None, body: Bytes::copy_from_slice(command.body) })
            })),
            ..ClientOptions::default()
        };
        let client = Client::new(io.clone(), options);
        let relayed = client.call(server(), &Request::new(RELAY), TIMEOUT).await.expect("an answer");
        assert_eq!((relayed.code(), &relayed.body()[..]), (0, &b"question"[..]));
        // A client that does not know the request says so.
        let ignorant = Client::new(io.clone(), ClientOptions::default());
        let relayed = ignorant.call(server(), &Request::new(RELAY), TIMEOUT).await.expect("an answer");
        assert_eq!(relayed.code(), 3);
    });
}

#[test]
fn a_client_that_does_not_answer_is_given_up_after_the_timeout() {
    let mut setup = Setup::new(13);
    let code = setup.run(|io, _| async move {
        let raw = io.connect(server()).await.expect("connected");
        raw.send(Request::new(RELAY).encode(1, false)).expect("open");
        let started = io.now();
        let _question = raw.recv().await.expect("open").expect("the question");
        let answer = raw.recv().await.expect("open").expect("the answer");
        assert!(io.now().since(started) >= Duration::from_secs(10));
        ringmq_remoting::Command::parse(&answer).expect("a frame").code
    });
    assert_eq!(code, 207);
}

#[test]
fn requests_to_a_client_that_leaves_end_with_it() {
    let mut setup = Setup::new(14);
    setup.run(|io, _| async move {
        let raw = io.connect(server()).await.expect("connected");
        raw.send(Request::new(RELAY).encode(1, false)).expect("open");
        raw.recv().await.expect("open").expect("the question");
        drop(raw);
        io.sleep(Duration::from_secs(1)).await;
    });
    assert_eq!(setup.seen().relays_ended, 1);
}

#[test]
fn closing_a_client_ends_its_calls() {
    let mut setup = Setup::new(15);
    setup.run(|io, client| async move {
        let waiting = client.clone();
        let error = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&error);
        io.spawn(async move {
            let outcome = waiting.call(server(), &Request::new(NEVER), LIMIT).await;
            *slot.borrow_mut() = Some(outcome.expect_err("no answer"));
        });
        io.sleep(Duration::from_secs(1)).await;
        client.disconnect(server());
        io.sleep(Duration::from_secs(1)).await;
        let error = error.borrow_mut().take().expect("the call has ended");
        assert!(matches!(error, CallError::Ended { cause: EndCause::Local, .. }), "{error}");
    });
}
