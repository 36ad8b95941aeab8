//! Mail, timers, stop and failure on the kernel driver.

mod support;

use std::time::Duration;

use ringmq_reactor::uring::{Options, ProcessError};
use ringmq_reactor::{Context, Event, Monotonic, ShardId, Token};
use support::{PATIENCE, Script, channel, expect, finish, launch, launch_with};

/// Every shard sends numbered messages to every other and to itself as fast as it may, regardless of room; all arrive, in order.
fn flood(shards: u16, messages: u64, mailbox_messages: usize) {
    let (report, reports) = channel();
    let scripts = (0..shards)
        .map(|_| {
            let report = report.clone();
            let mut expected = vec![0_u64; usize::from(shards)];
            let mut missing = u64::from(shards) * messages;
            let mut sent = 0;
            let mut send_some = move |io: &mut dyn Context<u64>| {
                // In uneven bursts, so that shards park between some of them.
                let burst = 1 + io.random() % 97;
                for _ in 0..burst.min(messages - sent) {
                    for to in 0..shards {
                        io.mail(ShardId(to), sent);
                    }
                    sent += 1;
                }
                if sent < messages {
                    let pause = Duration::from_micros(io.random() % 40);
                    io.timer(io.now() + pause, Token::new(0, 0));
                }
            };
            Script::new(
                |io: &mut dyn Context<u64>| {
                    io.timer(io.now(), Token::new(0, 0));
                },
                move |io, event| match event {
                    Event::Timer { .. } => send_some(io),
                    Event::Mail { from, message } => {
                        let next = &mut expected[usize::from(from.0)];
                        assert_eq!(message, *next, "from {from} to {}", io.shard());
                        *next += 1;
                        missing -= 1;
                        if missing == 0 {
                            report.send(()).expect("the test listens");
                        }
                    }
                    _ => {}
                },
            )
        })
        .collect();
    let process = launch_with(scripts, Options { mailbox_messages, ..Options::default() });
    for _ in 0..shards {
        expect(&reports);
    }
    let total = process.handle().total();
    assert!(total.mails <= u64::from(shards * shards) * messages);
    if mailbox_messages < 8 {
        assert!(total.mails_overflowed > 0, "{total:?}");
    }
    finish(process);
}

#[test]
fn mail_arrives_in_order_between_all_shards() {
    flood(4, 20_000, 1024);
}

#[test]
fn mail_beyond_a_tiny_mailbox_waits_and_stays_in_order() {
    flood(4, 5_000, 2);
}

/// One message goes round a ring of parked shards: a lost wake-up stops it for ever.
#[test]
fn no_wake_up_is_lost_between_parked_shards() {
    const ROUNDS: u64 = 20_000;
    let (report, reports) = channel();
    let scripts = (0..3_u16)
        .map(|me| {
            let report = report.clone();
            Script::new(
                move |io: &mut dyn Context<u64>| {
                    if me == 0 {
                        io.mail(ShardId(1), 1);
                    }
                },
                move |io, event| {
                    if let Event::Mail { message, .. } = event {
                        if message == ROUNDS {
                            report.send(()).expect("the test listens");
                        } else {
                            io.mail(ShardId((me + 1) % 3), message + 1);
                        }
                    }
                },
            )
        })
        .collect();
    let process = launch(scripts);
    expect(&reports);
    let total = process.handle().total();
    finish(process);
    assert!(total.doorbells > ROUNDS / 10, "shards did park: {total:?}");
}

/// Two shards with a mailbox of one message flood each other: both wait for room, neither for ever.
#[test]
fn shards_that_wait_for_each_other_go_on() {
    const MESSAGES: u64 = 30_000;
    let (report, reports) = channel();
    let scripts = (0..2_u16)
        .map(|me| {
            let report = report.clone();
            let mut got = 0;
            Script::new(
                move |io: &mut dyn Context<u64>| {
                    for n in 0..MESSAGES {
                        io.mail(ShardId(1 - me), n);
                    }
                    assert_eq!(io.mail_room(ShardId(1 - me)), 0);
                },
                move |_, event| {
                    if let Event::Mail { message, .. } = event {
                        assert_eq!(message, got);
                        got += 1;
                        if got == MESSAGES {
                            report.send(()).expect("the test listens");
                        }
                    }
                },
            )
        })
        .collect();
    let process = launch_with(scripts, Options { mailbox_messages: 1, ..Options::default() });
    expect(&reports);
    expect(&reports);
    finish(process);
}

#[test]
fn mail_to_a_shard_that_has_ended_is_dropped() {
    let (report, reports) = channel();
    let short = Script::new(|io: &mut dyn Context<u64>| io.exit(), |_, _| {});
    let mut sent = 0;
    let sender = Script::new(
        |io: &mut dyn Context<u64>| {
            io.timer(io.now(), Token::new(0, 0));
        },
        move |io, event| {
            if let Event::Timer { .. } = event {
                for _ in 0..100 {
                    io.mail(ShardId(0), sent);
                    sent += 1;
                }
                if sent < 10_000 {
                    io.timer(io.now() + Duration::from_micros(100), Token::new(0, 0));
                } else {
                    io.mail(ShardId(1), 0);
                }
            }
            if let Event::Mail { from, .. } = event {
                report.send(from).expect("the test listens");
            }
        },
    );
    let process = launch_with(vec![short, sender], Options { mailbox_messages: 4, ..Options::default() });
    assert_eq!(expect(&reports), ShardId(1));
    finish(process);
}

#[test]
fn timers_fire_in_order_and_never_early() {
    let (report, reports) = channel();
    let begun = report.clone();
    let script = Script::<()>::new(
        move |io| {
            let now = io.now();
            begun.send((Token::new(0, 0), now)).expect("the test listens");
            let late = io.timer(now + Duration::from_millis(15), Token::new(0, 99));
            for (value, delay) in [(3, 30), (1, 10), (2, 10), (4, 40), (0, 0)] {
                io.timer(now + Duration::from_millis(delay), Token::new(delay as u8, value));
            }
            io.cancel_timer(late);
            io.cancel_timer(late);
        },
        move |io, event| {
            if let Event::Timer { token } = event {
                report.send((token, io.now())).expect("the test listens");
            }
        },
    );
    let process = launch(vec![script]);
    let (_, start): (Token, Monotonic) = expect(&reports);
    let fired: Vec<(Token, Monotonic)> = (0..5).map(|_| expect(&reports)).collect();
    finish(process);
    assert_eq!(fired.iter().map(|(token, _)| token.value()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    for (token, at) in &fired {
        let passed = at.since(start);
        assert!(passed >= Duration::from_millis(u64::from(token.owner())), "{token:?} {passed:?}");
    }
    assert!(reports.try_recv().is_err(), "a cancelled timer fired");
}

#[test]
fn end_of_turn_follows_events_and_only_them() {
    let (report, reports) = channel();
    let mut script = Script::<()>::new(
        |io| {
            io.timer(io.now() + Duration::from_millis(20), Token::new(0, 0));
        },
        |_, _| {},
    );
    script.end_of_turn = Box::new(move |io| report.send(io.now()).expect("the test listens"));
    let process = launch(vec![script]);
    expect(&reports);
    let idle = reports.recv_timeout(Duration::from_millis(200));
    assert!(idle.is_err(), "a turn without an event");
    finish(process);
}

#[test]
fn an_idle_process_makes_no_turns() {
    let process = launch::<()>(vec![Script::new(|_| {}, |_, _| {}), Script::new(|_| {}, |_, _| {})]);
    #[allow(clippy::disallowed_methods, reason = "the test watches a process that does nothing")]
    let rest = || std::thread::sleep(Duration::from_millis(300));
    rest();
    let before = process.handle().total();
    rest();
    assert_eq!(process.handle().total(), before, "something ticks");
    assert!(before.enters <= 4, "{before:?}");
    finish(process);
}

#[test]
fn wall_time_does_not_go_back_across_shards() {
    let (report, reports) = channel();
    let scripts = (0..2_u16)
        .map(|me| {
            let report = report.clone();
            Script::new(
                move |io: &mut dyn Context<(u64, u64)>| {
                    if me == 0 {
                        io.mail(ShardId(1), (0, io.wall_ms()));
                    }
                },
                move |io, event| {
                    if let Event::Mail { message: (count, told), .. } = event {
                        assert!(io.wall_ms() >= told, "{} after {told}", io.wall_ms());
                        if count == 5000 {
                            report.send(told).expect("the test listens");
                        } else {
                            io.mail(ShardId(1 - me), (count + 1, io.wall_ms()));
                        }
                    }
                },
            )
        })
        .collect();
    let process = launch(scripts);
    let told = expect(&reports);
    assert!(told > 1_600_000_000_000, "milliseconds since 1970: {told}");
    finish(process);
}

#[test]
fn a_panic_in_one_service_ends_the_process_with_its_message() {
    let quiet = Script::<()>::new(|_| {}, |_, _| {});
    let failing = Script::<()>::new(
        |io| {
            io.timer(io.now() + Duration::from_millis(20), Token::new(0, 0));
        },
        |_, event| assert!(!matches!(event, Event::Timer { .. }), "the log of shard 1 is gone"),
    );
    let error = launch(vec![quiet, failing]).wait().expect_err("one shard fails");
    let ProcessError::Panicked { shard, message } = &error else { panic!("{error:?}") };
    assert_eq!(*shard, ShardId(1));
    assert!(message.contains("the log of shard 1 is gone"), "{message}");
}

/// With connections accepted in the very turn that panics, and sends that cannot end.
#[test]
fn a_panic_with_open_connections_ends_the_process_and_closes_them() {
    let (port, ports) = channel();
    // One for all connections: the test is about sends that cannot end, not about memory.
    let much = bytes::Bytes::from(vec![1; 32 << 20]);
    let failing = Script::<()>::new(
        move |io| {
            let any = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
            let listener = io.listen(any, ringmq_reactor::AcceptTo::Here, Token::new(0, 0)).expect("a port");
            port.send(io.local_address(listener).expect("bound")).expect("the test listens");
        },
        move |io, event| match event {
            Event::Accepted { connection, .. } => {
                io.outbox(connection).expect("open").push(much.clone());
            }
            Event::Received { bytes, .. } => assert!(bytes != b"break", "broken on request"),
            _ => {}
        },
    );
    let quiet = Script::<()>::new(|_| {}, |_, _| {});
    let process = launch(vec![failing, quiet]);
    let address = expect(&ports);
    #[allow(clippy::disallowed_methods, reason = "an ordinary peer")]
    let mut streams: Vec<_> =
        (0..20).map(|_| std::net::TcpStream::connect(address).expect("connect")).collect();
    for stream in &mut streams {
        std::io::Write::write_all(stream, b"break").expect("send");
    }
    let error = process.wait().expect_err("it broke");
    assert!(error.to_string().contains("broken on request"), "{error}");
    // All sockets are closed, accepted or not.
    for mut stream in streams {
        stream.set_read_timeout(Some(PATIENCE)).expect("timeout");
        let end = std::io::copy(&mut stream, &mut std::io::sink());
        assert!(end.is_ok() || end.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    }
}

#[test]
fn a_panic_while_starting_ends_the_process_too() {
    let quiet = Script::<()>::new(|_| {}, |_, _| {});
    let failing = Script::<()>::new(|_| panic!("no such folder"), |_, _| {});
    let error = launch(vec![failing, quiet]).wait().expect_err("one shard fails");
    assert!(error.to_string().contains("shard 0 panicked: no such folder"), "{error}");
}

#[test]
fn stop_is_told_once_to_each_shard_and_exit_ends_it() {
    let (report, reports) = channel();
    let scripts = (0..3_u16)
        .map(|_| {
            let report = report.clone();
            Script::<()>::new(
                |_| {},
                move |io, event| {
                    if let Event::Stop = event {
                        report.send(io.shard()).expect("the test listens");
                    }
                },
            )
        })
        .collect();
    let process = launch(scripts);
    let handle = process.handle();
    assert!(handle.is_running());
    assert_eq!(handle.shard_count(), 3);
    process.stop();
    process.stop();
    process.wait().expect("a good end");
    assert!(!handle.is_running());
    let mut told: Vec<u16> = reports.try_iter().map(|shard| shard.0).collect();
    told.sort_unstable();
    assert_eq!(told, [0, 1, 2]);
}

#[test]
fn a_dropped_process_ends_even_if_its_services_do_not_listen() {
    let (gone, is_gone) = channel::<()>();
    let shard = ringmq_reactor::ShardSpec {
        name: "deaf".to_owned(),
        cpu: None,
        service: Box::new(move |_| {
            struct Deaf(#[allow(dead_code, reason = "dropped with the service")] std::sync::mpsc::Sender<()>);
            impl ringmq_reactor::Service<()> for Deaf {
                fn start(&mut self, _: &mut dyn Context<()>) {}
                fn handle(&mut self, _: &mut dyn Context<()>, _: Event<'_, ()>) {}
                fn end_of_turn(&mut self, _: &mut dyn Context<()>) {}
            }
            Box::new(Deaf(gone))
        }),
    };
    let spec = ringmq_reactor::ProcessSpec { name: "test".to_owned(), shards: vec![shard] };
    let process = ringmq_reactor::uring::launch(spec, Options::default()).expect("the process starts");
    process.stop();
    drop(process);
    let end = is_gone.recv_timeout(PATIENCE);
    assert_eq!(end, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}
