//! Memory that outlives simulated processes.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use super::{SECOND, world};
use crate::sim::ProcessState;
use crate::task::{self, TaskIo};
use crate::{Context, Event, Mapping, Monotonic, PAGE_BYTES, ProcessSpec, Service, ShardSpec, Token};

const PATH: &str = "/dev/shm/one";
const WORDS: usize = PAGE_BYTES / 8;

/// Turn after turn fills its page with the turn's number, front to back.
struct Filler {
    mapping: Option<Mapping>,
    turns: u64,
}

impl Service<()> for Filler {
    fn start(&mut self, io: &mut dyn Context<()>) {
        io.file(Token::new(1, 0), crate::FileOp::Map { path: PATH.into(), create: Some(PAGE_BYTES) });
    }

    fn handle(&mut self, io: &mut dyn Context<()>, event: Event<'_, ()>) {
        if let Event::File { result: Ok(crate::FileValue::Mapped(mapping)), .. } = event {
            self.mapping = Some(mapping);
        }
        let Some(mapping) = &mut self.mapping else { panic!("not mapped") };
        self.turns += 1;
        for word in 0..WORDS {
            mapping.write(word * 8, &self.turns.to_le_bytes());
        }
        io.timer(Monotonic(0), Token::new(1, 0));
    }

    fn end_of_turn(&mut self, _: &mut dyn Context<()>) {}
}

fn filler() -> ProcessSpec<()> {
    let service = Box::new(|_| Box::new(Filler { mapping: None, turns: 0 }) as Box<dyn Service<()>>);
    ProcessSpec { name: "filler".into(), shards: vec![ShardSpec { name: "f".into(), cpu: None, service }] }
}

fn words(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

#[test]
fn a_kill_leaves_whole_turns_and_parts_of_the_last() {
    let (mut whole, mut torn) = (0, 0);
    for seed in 0..60 {
        let (mut world, hosts) = world(seed, 1);
        let host = hosts[0];
        let process = world.start(host, filler());
        world.run_for(SECOND / 100);
        world.kill(process);
        let found = words(&world.read_memory_file(host, PATH).expect("it outlives the process"));
        let newest = *found.iter().max().expect("words");
        assert!(newest > 2 && found.iter().all(|turn| newest - turn <= 1), "one turn at most is torn");
        if found.iter().all(|turn| *turn == newest) {
            whole += 1;
        } else {
            torn += 1;
        }
    }
    assert!(whole > 10 && torn > 10, "whole {whole} torn {torn}");
}

#[test]
fn memory_outlives_processes_and_not_the_power() {
    let (mut world, hosts) = world(1, 1);
    let host = hosts[0];
    let boots = Arc::new(Mutex::new(Vec::new()));
    let life = |create: Option<usize>, expected: Result<&'static [u8], ErrorKind>| {
        let boots = Arc::clone(&boots);
        task::process("life", move |io: TaskIo| async move {
            match (io.map(PATH, create).await, expected) {
                (Ok(mut mapping), Ok(found)) => {
                    boots.lock().expect("one thread").push(mapping.boot_id());
                    assert_eq!(mapping.bytes(0, found.len()), found);
                    mapping.write(0, b"here");
                    let again = io.map(PATH, None).await.expect_err("mapped by ourselves");
                    assert_eq!(again.kind(), ErrorKind::WouldBlock);
                }
                (Err(error), Err(kind)) => assert_eq!(error.kind(), kind),
                (got, expected) => panic!("{got:?} instead of {expected:?}"),
            }
        })
    };
    let run = |world: &mut crate::sim::World, spec| {
        let process = world.start(host, spec);
        assert!(world.run_until(SECOND, |w| w.state(process) == ProcessState::Exited));
    };
    run(&mut world, life(None, Err(ErrorKind::NotFound)));
    run(&mut world, life(Some(PAGE_BYTES), Ok(&[0; 4])));
    run(&mut world, life(Some(PAGE_BYTES), Err(ErrorKind::AlreadyExists)));
    run(&mut world, life(None, Ok(b"here")));
    world.power_cut(host);
    assert!(world.memory_files(host).is_empty());
    run(&mut world, life(None, Err(ErrorKind::NotFound)));
    run(&mut world, life(Some(PAGE_BYTES), Ok(&[0; 4])));
    let boots = boots.lock().expect("one thread");
    assert!(boots[0] == boots[1] && boots[1] != boots[2], "{boots:?}");
}
