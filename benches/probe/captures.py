"""Prints the codes that a CUDA driver gives in stream captures: python3 captures.py [libcuda.so.1]

benches/results/ has what an H100's driver answered. kernels/vgpu/tests/driver_capture_record makes the same calls, in
this order and under these names, on the virtual GPU: a call that is added here, with a new record, is added there."""
import ctypes as C, sys, threading
lib = C.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libcuda.so.1")
P, U64 = C.c_void_p, C.c_uint64
def call(name, *args): return getattr(lib, name)(*args)
def new(name, *args):
    h = P(); r = call(name, C.byref(h), *args); assert r == 0, (name, r); return h
assert lib.cuInit(0) == 0
ctx = P(); assert lib.cuDevicePrimaryCtxRetain(C.byref(ctx), 0) == 0; lib.cuCtxSetCurrent(ctx)
FN = C.CFUNCTYPE(None, P); fn = FN(lambda d: None)
CB = C.CFUNCTYPE(None, P, C.c_int, P); cb = CB(lambda s, c, d: None)
GLOBAL, LOCAL, RELAXED = 0, 1, 2
def stream(flags=1): return new("cuStreamCreate", flags)
def event(): return new("cuEventCreate", 0)
def begin(s, m=LOCAL): return call("cuStreamBeginCapture_v2", s, m)
def end(s):
    g = P(0xdead0); r = call("cuStreamEndCapture", s, C.byref(g)); return r, ("null" if not g.value else "untouched" if g.value == 0xdead0 else "graph")
def host(s): return call("cuLaunchHostFunc", s, fn, P())
def rec(e, s): return call("cuEventRecord", e, s)
def wait(s, e, f=0): return call("cuStreamWaitEvent", s, e, f)
def status(s):
    v = C.c_int(-1); r = call("cuStreamIsCapturing", s, C.byref(v)); return r, v.value
def alloc():
    d = U64(); r = call("cuMemAlloc_v2", C.byref(d), C.c_size_t(64)); return d
buf, hb = alloc(), (C.c_char * 64)()
NUL = P(0)
def show(name, *values): print(f"{name:44s}", *values, flush=True)
def spoils(name, f, mode=LOCAL, flags=1, prep=None):
    s = stream(flags); x = prep(s) if prep else None
    b = begin(s, mode); r = f(s, x) if prep else f(s); show(name, "call", r, "status", status(s)[1], "end", end(s))
z = C.c_size_t
print("-- begin and end")
show("begin legacy", begin(NUL)); show("end legacy", end(NUL))
s = stream(); show("begin bad mode", begin(s, 3)); show("end idle", end(s)); show("end idle null", call("cuStreamEndCapture", s, P()))
begin(s); show("begin twice", begin(s)); show("end null place", call("cuStreamEndCapture", s, P()), status(s)); show("end after", end(s))
def elsewhere(f):
    out = []
    def body(): lib.cuCtxSetCurrent(ctx); out.append(f())
    t = threading.Thread(target=body); t.start(); t.join(); return out[0]
begin(s); show("end wrong thread", elsewhere(lambda: end(s)), status(s), "own end", end(s))
a, b, e = stream(), stream(), event()
begin(a); rec(e, a); wait(b, e); host(b); show("end unmatched", end(b), status(a), "origin", end(a), status(b))
begin(a); rec(e, a); wait(b, e); show("fork without work", end(a))
begin(a); rec(e, a); wait(b, e); host(b); show("unjoined", end(a), status(a), status(b))
a2, b2 = stream(), stream(); begin(a2); rec(e, a2); wait(b2, e); host(b2); show("destroy forked", call("cuStreamDestroy_v2", b2), status(a2), end(a2))
a2, b2 = stream(), stream(); begin(a2); rec(e, a2); wait(b2, e); show("destroy origin", call("cuStreamDestroy_v2", a2), status(b2), "work", host(b2))
print("-- events")
out, never, ins = event(), event(), event(); rec(out, b)
a, b = stream(), stream()
begin(a); show("wait never recorded", wait(a, never), status(a)); show("wait outside", wait(a, out), status(a), "work", host(a), end(a))
lib.cuCtxSynchronize(); begin(a); show("wait outside, done", wait(a, out), end(a))
begin(a); rec(ins, a); show("ok end", end(a)); show("wait ended capture, plain", wait(b, ins)); begin(b); show("wait ended capture, capturing", wait(b, ins), end(b))
show("query ended capture", call("cuEventQuery", ins), "sync", call("cuEventSynchronize", ins))
ms = C.c_float(); begin(a); rec(ins, a); show("elapsed captured", call("cuEventElapsedTime_v2" if hasattr(lib, "cuEventElapsedTime_v2") else "cuEventElapsedTime", C.byref(ms), ins, out), status(a), end(a))
c = stream(); begin(a); begin(c); rec(ins, a); show("merge", wait(c, ins), status(a), status(c), end(a), end(c))
begin(a); rec(ins, a); show("legacy waits, non-blocking capture", wait(NUL, ins), status(a), end(a))
bl = stream(0); begin(bl); rec(ins, bl); show("legacy waits, blocking capture", wait(NUL, ins), status(bl), end(bl))
begin(a); rec(ins, a); call("cuStreamSynchronize", a); show("wait spoilt capture", wait(c, ins), "record", rec(out, a), end(a))
show("external record plain", call("cuEventRecordWithFlags", out, b, 1)); show("external wait plain", wait(b, out, 1))
print("-- waits in a capture, each mode")
for m in (GLOBAL, LOCAL, RELAXED):
    ev = event(); p = lambda s: ev
    spoils(f"sync own {m}", lambda s: call("cuStreamSynchronize", s), m); spoils(f"query own {m}", lambda s: call("cuStreamQuery", s), m)
    spoils(f"ctx sync {m}", lambda s: lib.cuCtxSynchronize(), m)
    spoils(f"event sync {m}", lambda s: (rec(ev, s), call("cuEventSynchronize", ev)), m); spoils(f"event query {m}", lambda s: (rec(ev, s), call("cuEventQuery", ev)), m)
    spoils(f"sync other {m}", lambda s: call("cuStreamSynchronize", c), m); spoils(f"query other {m}", lambda s: call("cuStreamQuery", c), m)
    spoils(f"event query idle {m}", lambda s: call("cuEventQuery", never), m); spoils(f"event sync idle {m}", lambda s: call("cuEventSynchronize", never), m)
    spoils(f"callback {m}", lambda s: call("cuStreamAddCallback", s, cb, P(), 0), m)
    for fl, nm in ((0, "blocking"), (1, "non-blocking")):
        spoils(f"alloc {nm} {m}", lambda s: call("cuMemAlloc_v2", C.byref(U64()), z(64)), m, fl)
        spoils(f"free {nm} {m}", lambda s, d: call("cuMemFree_v2", d), m, fl, lambda s: alloc())
        spoils(f"host alloc {nm} {m}", lambda s: call("cuMemHostAlloc", C.byref(P()), z(64), 0), m, fl)
        spoils(f"host free {nm} {m}", lambda s, d: call("cuMemFreeHost", d), m, fl, lambda s: new("cuMemHostAlloc", z(64), 0))
        spoils(f"memcpy DtoH {nm} {m}", lambda s: call("cuMemcpyDtoH_v2", hb, buf, z(64)), m, fl)
        spoils(f"memcpy DtoD {nm} {m}", lambda s: call("cuMemcpyDtoD_v2", buf, buf, z(64)), m, fl)
        spoils(f"memset {nm} {m}", lambda s: call("cuMemsetD8_v2", buf, C.c_ubyte(0), z(64)), m, fl)
        spoils(f"memsetAsync other {nm} {m}", lambda s: call("cuMemsetD8Async", buf, C.c_ubyte(0), z(64), c), m, fl)
        spoils(f"memcpyAsync pageable DtoH other {nm} {m}", lambda s: call("cuMemcpyDtoHAsync_v2", hb, buf, z(64), c), m, fl)
        for nm2, f in (("host", lambda s: host(NUL)), ("sync", lambda s: call("cuStreamSynchronize", NUL)), ("query", lambda s: call("cuStreamQuery", NUL)), ("record", lambda s: rec(out, NUL)), ("is capturing", lambda s: status(NUL))):
            spoils(f"legacy {nm2} {nm} {m}", f, m, fl)
    spoils(f"stream create {m}", lambda s: call("cuStreamCreate", C.byref(P()), 1), m); spoils(f"event create {m}", lambda s: call("cuEventCreate", C.byref(P()), 0), m)
    spoils(f"stream destroy other {m}", lambda s, d: call("cuStreamDestroy_v2", d), m, 1, lambda s: stream()); spoils(f"mem info {m}", lambda s: call("cuMemGetInfo_v2", C.byref(z()), C.byref(z())), m)
    PTX = b".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() { ret; }\n\0"
    spoils(f"module load {m}", lambda s: call("cuModuleLoadData", C.byref(P()), PTX), m)
    spoils(f"module unload {m}", lambda s, d: call("cuModuleUnload", d), m, 1, lambda s: new("cuModuleLoadData", PTX))
print("-- graphs")
def captured(n=1):
    s = stream(); begin(s)
    for _ in range(n): host(s)
    g = P(); assert call("cuStreamEndCapture", s, C.byref(g)) == 0; return g
g = captured(); x = P()
for fl in (0, 1, 2, 3, 4, 5, 8, 16): show(f"instantiate flags {fl}", call("cuGraphInstantiateWithFlags", C.byref(x), g, U64(fl)))
call("cuGraphInstantiateWithFlags", C.byref(x), g, U64(0)); show("launch null stream", call("cuGraphLaunch", x, NUL), lib.cuCtxSynchronize())
show("upload", call("cuGraphUpload", x, c)); begin(a); show("upload capturing", call("cuGraphUpload", x, a), status(a), end(a))
info = (U64 * 3)(); show("update count", call("cuGraphExecUpdate_v2", x, captured(2), info), info[0] & 0xffffffff)
show("graph create flags", call("cuGraphCreate", C.byref(P()), 1)); show("null graph", call("cuGraphDestroy", NUL), "null exec", call("cuGraphExecDestroy", NUL), call("cuGraphLaunch", NUL, c))
begin(a); v, i, g, d, ed, n = C.c_int(), U64(), P(), P(), P(), z()
r = call("cuStreamGetCaptureInfo_v3", a, C.byref(v), C.byref(i), C.byref(g), C.byref(d), C.byref(ed), C.byref(n)); show("info empty", r, v.value, "deps null" if not d.value else "deps", n.value)
show("destroy capturing graph", call("cuGraphDestroy", g), status(a), end(a))
show("update dependencies idle", call("cuStreamUpdateCaptureDependencies_v2", a, P(), P(), z(0), 1))
m = C.c_int(7); show("exchange bad mode", call("cuThreadExchangeStreamCaptureMode", C.byref(m)), m.value)
print("-- dependency sets")
begin(a); host(a); rec(e, a); host(a); wait(a, e); call("cuStreamGetCaptureInfo_v3", a, C.byref(v), C.byref(i), C.byref(g), C.byref(d), C.byref(ed), C.byref(n)); show("wait for own past", n.value)
host(a); call("cuGraphGetEdges_v2", g, P(), P(), P(), C.byref(n)); show("edges", n.value, end(a))
d2 = U64(); begin(a); r = call("cuMemAllocAsync", C.byref(d2), z(64), a); show("alloc async", r, status(a), end(a))
begin(a); show("zero bytes", call("cuMemsetD8Async", buf, C.c_ubyte(0), z(0), a), call("cuMemcpyDtoDAsync_v2", buf, buf, z(0), a)); call("cuStreamGetCaptureInfo_v3", a, C.byref(v), C.byref(i), C.byref(g), C.byref(d), C.byref(ed), C.byref(n)); call("cuGraphGetNodes", g, P(), C.byref(n)); show("nodes", n.value, end(a))
print("-- other threads")
for m1 in (GLOBAL, LOCAL, RELAXED):
    for nm, f in (("alloc", lambda: call("cuMemAlloc_v2", C.byref(U64()), z(64))), ("sync", lambda: call("cuStreamSynchronize", c)), ("event query", lambda: call("cuEventQuery", never)), ("ctx sync", lambda: lib.cuCtxSynchronize()), ("work", lambda: host(a))):
        begin(a, m1); show(f"capture {m1}: {nm} elsewhere", elsewhere(f), status(a), end(a))
begin(a, LOCAL); call("cuMemAlloc_v2", C.byref(U64()), z(64)); show("alloc after spoilt", call("cuMemAlloc_v2", C.byref(U64()), z(64)), end(a))
print("-- launched from the device")
mod = new("cuModuleLoadData", b".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k() { ret; }\n\0"); kernel = new("cuModuleGetFunction", mod, b"k")
def run(s): return call("cuLaunchKernel", kernel, 1, 1, 1, 32, 1, 1, 0, s, P(), P())
def fill(s): return call("cuMemsetD8Async", buf, C.c_ubyte(0), z(64), s)
for nm, works in (("nothing", ()), ("kernel", (run,)), ("fill", (fill,)), ("kernel, fill", (run, fill)), ("kernel, host", (run, host))):
    s = stream(); begin(s); [f(s) for f in works]; g = P(); call("cuStreamEndCapture", s, C.byref(g)); x = P()
    r = call("cuGraphInstantiateWithFlags", C.byref(x), g, U64(4)); show(f"device launch: {nm}", r, *((call("cuGraphUpload", x, s), call("cuGraphLaunch", x, s), call("cuStreamSynchronize", s)) if r == 0 else ()))
