//! The calls, in the order of the script and under its names.

use crate::Record;
use crate::calls::{
    BLOCKING, Code, Event, GLOBAL, Graph, GraphExec, LOCAL, Memory, Mode, Module, NON_BLOCKING,
    Pinned, RELAXED, Stream, allocate, allocate_host, bind, create_event, create_graph,
    create_stream, elsewhere, exchange_mode, load_module, memory_info, synchronize_context,
};
use std::ffi::c_uint;
use std::fmt::Debug;

/// Makes all calls.
pub(crate) fn replay(record: &mut Record) {
    bind();
    record.section("begin and end");
    begin_and_end(record);
    record.section("events");
    events(record);
    record.section("waits in a capture, each mode");
    for mode in [GLOBAL, LOCAL, RELAXED] {
        waits(Captures::new(record, mode, NON_BLOCKING, ""));
        memory_and_legacy_stream(Captures::new(record, mode, BLOCKING, "blocking "));
        memory_and_legacy_stream(Captures::new(record, mode, NON_BLOCKING, "non-blocking "));
        objects(Captures::new(record, mode, NON_BLOCKING, ""));
    }
    record.section("graphs");
    graphs(record);
    record.section("dependency sets");
    dependencies(record);
    record.section("other threads");
    other_threads(record);
    record.section("launched from the device");
    device_launches(record);
}

fn begin_and_end(record: &mut Record) {
    let legacy = Stream::LEGACY;
    record.show("begin legacy", legacy.begin(LOCAL));
    record.show("end legacy", format!("{:?}", legacy.end()));
    let s = Stream::new();
    record.show("begin bad mode", s.begin(3));
    record.show("end idle", format!("{:?}", s.end()));
    record.show("end idle null", s.end_without_place());
    s.begin(LOCAL);
    record.show("begin twice", s.begin(LOCAL));
    let ended = s.end_without_place();
    record.show("end null place", format!("{ended} {:?}", s.status()));
    record.show("end after", format!("{:?}", s.end()));
    s.begin(LOCAL);
    let ended = elsewhere(|| s.end());
    let own = format!("{:?} own end {:?}", s.status(), s.end());
    record.show("end wrong thread", format!("{ended:?} {own}"));

    let e = Event::new();
    let fork = || {
        let (origin, forked) = (Stream::new(), Stream::new());
        origin.begin(LOCAL);
        origin.record(e);
        forked.wait(e);
        (origin, forked)
    };
    let (a, b) = fork();
    b.host();
    let unmatched = format!("{:?} {:?}", b.end(), a.status());
    let origin = format!("origin {:?} {:?}", a.end(), b.status());
    record.show("end unmatched", format!("{unmatched} {origin}"));
    let (a, _) = fork();
    record.show("fork without work", format!("{:?}", a.end()));
    let (a, b) = fork();
    b.host();
    let unjoined = format!("{:?} {:?} {:?}", a.end(), a.status(), b.status());
    record.show("unjoined", unjoined);
    let (a, b) = fork();
    b.host();
    let left = format!("{} {:?} {:?}", b.destroy(), a.status(), a.end());
    record.show("destroy forked", left);
    let (a, b) = fork();
    let left = format!("{} {:?} work {}", a.destroy(), b.status(), b.host());
    record.show("destroy origin", left);
}

fn events(record: &mut Record) {
    let (a, b, c) = (Stream::new(), Stream::new(), Stream::new());
    let (outside, never, inside) = (Event::new(), Event::new(), Event::new());
    b.record(outside);
    a.begin(LOCAL);
    let waited = format!("{} {:?}", a.wait(never), a.status());
    record.show("wait never recorded", waited);
    let waited = format!("{} {:?}", a.wait(outside), a.status());
    let work = format!("work {} {:?}", a.host(), a.end());
    record.show("wait outside", format!("{waited} {work}"));
    synchronize_context();
    a.begin(LOCAL);
    let waited = format!("{} {:?}", a.wait(outside), a.end());
    record.show("wait outside, done", waited);

    a.begin(LOCAL);
    a.record(inside);
    record.show("ok end", format!("{:?}", a.end()));
    record.show("wait ended capture, plain", b.wait(inside));
    b.begin(LOCAL);
    let waited = format!("{} {:?}", b.wait(inside), b.end());
    record.show("wait ended capture, capturing", waited);
    let asked = format!("{} sync {}", inside.query(), inside.synchronize());
    record.show("query ended capture", asked);

    a.begin(LOCAL);
    a.record(inside);
    let elapsed = inside.elapsed(outside);
    let elapsed = format!("{elapsed} {:?} {:?}", a.status(), a.end());
    record.show("elapsed captured", elapsed);
    a.begin(LOCAL);
    c.begin(LOCAL);
    a.record(inside);
    let merged = format!("{} {:?} {:?}", c.wait(inside), a.status(), c.status());
    record.show("merge", format!("{merged} {:?} {:?}", a.end(), c.end()));

    let captures = [
        ("legacy waits, non-blocking capture", a),
        (
            "legacy waits, blocking capture",
            Stream::with_flags(BLOCKING),
        ),
    ];
    for (name, stream) in captures {
        stream.begin(LOCAL);
        stream.record(inside);
        let waited = Stream::LEGACY.wait(inside);
        let waited = format!("{waited} {:?} {:?}", stream.status(), stream.end());
        record.show(name, waited);
    }
    a.begin(LOCAL);
    a.record(inside);
    a.synchronize();
    let waited = c.wait(inside);
    let waited = format!("{waited} record {} {:?}", a.record(outside), a.end());
    record.show("wait spoilt capture", waited);
    record.show("external record plain", b.record_external(outside));
    record.show("external wait plain", b.wait_external(outside));
}

/// Captures that calls are made in, one each.
struct Captures<'a> {
    record: &'a mut Record,
    mode: Mode,
    /// Of the streams that capture.
    flags: c_uint,
    /// What the names of the calls have before the mode.
    kind: &'static str,
}

impl Captures<'_> {
    fn new<'a>(
        record: &'a mut Record,
        mode: Mode,
        flags: c_uint,
        kind: &'static str,
    ) -> Captures<'a> {
        Captures {
            record,
            mode,
            flags,
            kind,
        }
    }

    /// What a call gives, and what becomes of the capture.
    fn show<T: Debug>(&mut self, name: &str, call: impl FnOnce(Stream) -> T) {
        let stream = Stream::with_flags(self.flags);
        assert_eq!(stream.begin(self.mode), 0, "{name}");
        let called = call(stream);
        let (status, end) = (stream.status().1, stream.end());
        let answer = format!("call {called:?} status {status} end {end:?}");
        let name = format!("{name} {}{}", self.kind, self.mode);
        self.record.show(&name, answer);
    }
}

fn waits(mut captures: Captures<'_>) {
    let (other, event, never) = (Stream::new(), Event::new(), Event::new());
    captures.show("sync own", |s| s.synchronize());
    captures.show("query own", |s| s.query());
    captures.show("ctx sync", |_| synchronize_context());
    captures.show("event sync", |s| (s.record(event), event.synchronize()));
    captures.show("event query", |s| (s.record(event), event.query()));
    captures.show("sync other", |_| other.synchronize());
    captures.show("query other", |_| other.query());
    captures.show("event query idle", |_| never.query());
    captures.show("event sync idle", |_| never.synchronize());
    captures.show("callback", |s| s.callback());
}

fn memory_and_legacy_stream(mut captures: Captures<'_>) {
    let (other, event, memory) = (Stream::new(), Event::new(), Memory::new());
    let (freed, pinned) = (Memory::new(), Pinned::new());
    captures.show("alloc", |_| allocate());
    captures.show("free", |_| freed.free());
    captures.show("host alloc", |_| allocate_host());
    captures.show("host free", |_| pinned.free());
    captures.show("memcpy DtoH", |_| memory.copy_to_host());
    captures.show("memcpy DtoD", |_| memory.copy_onto_itself());
    captures.show("memset", |_| memory.fill());
    captures.show("memsetAsync other", |_| other.fill(memory));
    captures.show("memcpyAsync pageable DtoH other", |_| {
        other.copy_to_host(memory)
    });
    let legacy = Stream::LEGACY;
    captures.show("legacy host", |_| legacy.host());
    captures.show("legacy sync", |_| legacy.synchronize());
    captures.show("legacy query", |_| legacy.query());
    captures.show("legacy record", |_| legacy.record(event));
    captures.show("legacy is capturing", |_| legacy.status());
}

fn objects(mut captures: Captures<'_>) {
    let (stream, module) = (Stream::new(), Module::new());
    captures.show("stream create", |_| create_stream());
    captures.show("event create", |_| create_event());
    captures.show("stream destroy other", |_| stream.destroy());
    captures.show("mem info", |_| memory_info());
    captures.show("module load", |_| load_module());
    captures.show("module unload", |_| module.unload());
}

fn graphs(record: &mut Record) {
    let (a, idle) = (Stream::new(), Stream::new());
    let graph = Graph::captured(1);
    for flags in [0, 1, 2, 3, 4, 5, 8, 16] {
        let (code, _) = graph.instantiate(flags);
        record.show(&format!("instantiate flags {flags}"), code);
    }
    let (_, exec) = graph.instantiate(0);
    let launched = exec.launch(Stream::LEGACY);
    let launched = format!("{launched} {}", synchronize_context());
    record.show("launch null stream", launched);
    record.show("upload", exec.upload(idle));
    a.begin(LOCAL);
    let uploaded = format!("{} {:?} {:?}", exec.upload(a), a.status(), a.end());
    record.show("upload capturing", uploaded);
    let (code, result) = exec.update(Graph::captured(2));
    record.show("update count", format!("{code} {result}"));
    record.show("graph create flags", create_graph(1));
    let null = (GraphExec::NULL.destroy(), GraphExec::NULL.launch(idle));
    let null = format!("{} null exec {} {}", Graph::NULL.destroy(), null.0, null.1);
    record.show("null graph", null);
    a.begin(LOCAL);
    let info = a.info();
    let told = format!("{} {} {} {}", info.code, info.status, info.list, info.count);
    record.show("info empty", told);
    let destroyed = info.graph.destroy();
    let destroyed = format!("{destroyed} {:?} {:?}", a.status(), a.end());
    record.show("destroy capturing graph", destroyed);
    record.show("update dependencies idle", a.clear_dependencies());
    let (code, before) = exchange_mode(7);
    record.show("exchange bad mode", format!("{code} {before}"));
}

fn dependencies(record: &mut Record) {
    let (a, event, memory) = (Stream::new(), Event::new(), Memory::new());
    a.begin(LOCAL);
    a.host();
    a.record(event);
    a.host();
    a.wait(event);
    let info = a.info();
    record.show("wait for own past", info.count);
    a.host();
    let edges = format!("{} {:?}", info.graph.edge_count(), a.end());
    record.show("edges", edges);
    a.begin(LOCAL);
    let allocated = format!("{} {:?} {:?}", a.allocate(), a.status(), a.end());
    record.show("alloc async", allocated);
    a.begin(LOCAL);
    let nothing = format!("{} {}", a.fill_nothing(memory), a.copy_nothing(memory));
    record.show("zero bytes", nothing);
    let nodes = format!("{} {:?}", a.info().graph.node_count(), a.end());
    record.show("nodes", nodes);
}

fn other_threads(record: &mut Record) {
    let (a, idle, never) = (Stream::new(), Stream::new(), Event::new());
    for mode in [GLOBAL, LOCAL, RELAXED] {
        let mut show = |name, call: &(dyn Fn() -> Code + Sync)| {
            a.begin(mode);
            let called = elsewhere(call);
            let answer = format!("{called} {:?} {:?}", a.status(), a.end());
            record.show(&format!("capture {mode}: {name} elsewhere"), answer);
        };
        show("alloc", &allocate);
        show("sync", &|| idle.synchronize());
        show("event query", &|| never.query());
        show("ctx sync", &synchronize_context);
        show("work", &|| a.host());
    }
    a.begin(LOCAL);
    allocate();
    let again = format!("{} {:?}", allocate(), a.end());
    record.show("alloc after spoilt", again);
}

/// Graphs made to be launched from the device, and launched by the host.
fn device_launches(record: &mut Record) {
    const DEVICE_LAUNCH: u64 = 4;
    let (stream, module, memory) = (Stream::new(), Module::new(), Memory::new());
    let mut show = |name, work: &dyn Fn(Stream)| {
        let (code, exec) = Graph::of(work).instantiate(DEVICE_LAUNCH);
        let launched = match code {
            0 => {
                let codes = [
                    exec.upload(stream),
                    exec.launch(stream),
                    stream.synchronize(),
                ];
                codes.map(|code| format!(" {code}")).concat()
            }
            _ => String::new(),
        };
        record.show(
            &format!("device launch: {name}"),
            format!("{code}{launched}"),
        );
    };
    let run = |stream: Stream| assert_eq!(stream.run(module), 0);
    let fill = |stream: Stream| assert_eq!(stream.fill(memory), 0);
    show("nothing", &|_| ());
    show("kernel", &run);
    show("fill", &fill);
    show("kernel, fill", &|stream| {
        run(stream);
        fill(stream);
    });
    show("kernel, host", &|stream| {
        run(stream);
        assert_eq!(stream.host(), 0);
    });
}
