//! In a steady decode step nothing is allocated.

use crate::core::Runner;
use crate::core::idle::Steady;
use crate::device::DeviceRunner;
use crate::engine::EngineOptions;
use crate::model::Model;
use crate::plan::MemoryPlan;
use allocation_counter::measure;
use gamut_kernels::{Device, Host};
use gamut_loader::synthetic;
use std::sync::Arc;

fn check<R: Runner>(mut steady: Steady<R>, answers: u64) {
    // Every answer comes to the end of a page meanwhile.
    for step in 0..Steady::STEPS {
        let before = steady.stats();
        let counted = measure(|| steady.step());
        let after = steady.stats();
        assert_eq!(after.generated_tokens, before.generated_tokens + answers);
        assert_eq!(counted.count_total, 0, "step {step}: {counted:?}");
        steady.read();
    }
}

#[test]
fn a_steady_step_of_many_answers_allocates_nothing() {
    check(Steady::idle(64, 64).unwrap(), 64);
}

#[test]
fn a_steady_step_of_the_host_allocates_nothing() {
    let model = Arc::new(Model::random(&synthetic::demo_config().to_string(), 0).unwrap());
    let options = EngineOptions {
        max_model_len: Some(256),
        kv_cache_tokens: Some(1024),
        max_num_seqs: 3,
        ..EngineOptions::default()
    };
    // On one thread, which is the one that is measured.
    let host = Arc::new(Host::new(1).unwrap());
    let device = Device::Host(host.clone());
    let plan = MemoryPlan::new(&model, &options, device.target(), None).unwrap();
    let runner = DeviceRunner::new(model, &device, host.clone(), &plan).unwrap();
    let limits = plan.limits(options.max_queued);
    host.install(|| check(Steady::new(runner, limits, 1), 3));
}
