//! Every row of [`rows`](crate::rows::rows), timed, with the peers that run in this process.

use crate::error::Result;
use crate::measure::{Times, with_work};
use crate::options::{Options, gpu, recorded};
use crate::peers::{blas::BlasBench, fft};
use crate::row::{Bench, Operation, Peer, Row};
use crate::rows::rows;
use gamut_kernels::{Context, Device, Timer, Work};
use gamut_probe::report::Report;

/// The dry run of a row.
struct Planned {
    row: Row,
    plan: Context,
    work: Work,
}

/// Notes the operation's own work among that of a dry run.
struct Dry(Work);

impl Bench for Dry {
    fn prepare(&mut self, cx: &Context, operation: &mut Operation<'_>) -> Result<()> {
        operation(cx)
    }

    fn run(&mut self, cx: &Context, operation: &mut Operation<'_>) -> Result<()> {
        let before = cx.work().len();
        operation(cx)?;
        let calls = cx.work().split_off(before);
        self.0 = calls.into_iter().fold(self.0, |sum, (_, work)| sum + work);
        Ok(())
    }
}

/// Loads its weights and times it.
struct Timed<'a> {
    device: &'a Device,
    timer: &'a Timer,
    times: Option<Times>,
}

impl Bench for Timed<'_> {
    fn prepare(&mut self, cx: &Context, operation: &mut Operation<'_>) -> Result<()> {
        let plan = Context::plan(self.device.target());
        operation(&plan)?;
        self.device.load(&[&plan])?;
        operation(cx)
    }

    fn run(&mut self, cx: &Context, operation: &mut Operation<'_>) -> Result<()> {
        self.prepare(cx, operation)?;
        self.times = Some(Times::measure(self.timer, &mut || operation(cx))?);
        Ok(())
    }
}

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let device = options.open()?;
    let cuda = gpu(&device)?;
    let timer = Timer::new(cuda)?;
    let mut planned = Vec::new();
    for row in rows(&options.config()?, &options.sizes()) {
        let (plan, mut dry) = (Context::plan(device.target()), Dry(Work::default()));
        (row.body)(&plan, &mut dry)?;
        let work = dry.0;
        planned.push(Planned { row, plan, work });
    }
    let blas = match options.is_hardware() {
        true => Some(BlasBench::open(&device, cuda)?),
        false => None,
    };
    for Planned { row, plan, work } in &planned {
        eprintln!("  {}", row.id);
        let time = || -> Result<Times> {
            let cx = Context::new(&device, plan.workspace_peak())?;
            let mut timed = Timed {
                device: &device,
                timer: &timer,
                times: None,
            };
            (row.body)(&cx, &mut timed)?;
            Ok(timed.times.unwrap_or(Times::new(Vec::new())))
        };
        let measured = time().map(|times| with_work(&times, *work));
        report.add(&row.id, recorded(measured))?;
        let peer = match (&row.peer, &blas) {
            (Peer::Blas(product), Some(blas)) => Some(("cuBLASLt", blas.measure(&timer, *product))),
            (Peer::Fft(frames, _), Some(_)) => {
                Some(("cuFFT", fft::measure(&device, cuda, &timer, *frames)))
            }
            _ => None,
        };
        if let Some((library, measured)) = peer {
            let measured = measured.map(|times| times.json());
            report.add(&format!("{} | {library}", row.id), recorded(measured))?;
        }
    }
    Ok(())
}
