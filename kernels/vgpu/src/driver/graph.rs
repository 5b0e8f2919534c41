//! Graphs and stream capture, which are refused for now: no stream is ever capturing.
#![allow(unsafe_code)]

use super::abi::Out;
use super::code::Code;
use super::entry::{enter, refuse};
use super::table::Handle;
use std::ffi::c_uint;

/// `CU_STREAM_CAPTURE_STATUS_NONE`.
const NOT_CAPTURING: c_uint = 0;

#[unsafe(no_mangle)]
extern "C" fn cuStreamIsCapturing(stream: Handle, status: Out<c_uint>) -> Code {
    enter(|driver| {
        driver.stream(stream)?;
        status.set(NOT_CAPTURING)
    })
}

/// The other results mean nothing unless the stream is capturing.
#[unsafe(no_mangle)]
extern "C" fn cuStreamGetCaptureInfo_v3(stream: Handle, status: Out<c_uint>) -> Code {
    cuStreamIsCapturing(stream, status)
}

refuse! {
    cuDeviceGetGraphMemAttribute
    cuDeviceGraphMemTrim
    cuDeviceSetGraphMemAttribute
    cuGraphAddBatchMemOpNode
    cuGraphAddChildGraphNode
    cuGraphAddDependencies_v2
    cuGraphAddEmptyNode
    cuGraphAddEventRecordNode
    cuGraphAddEventWaitNode
    cuGraphAddExternalSemaphoresSignalNode
    cuGraphAddExternalSemaphoresWaitNode
    cuGraphAddHostNode
    cuGraphAddKernelNode_v2
    cuGraphAddMemAllocNode
    cuGraphAddMemFreeNode
    cuGraphAddMemcpyNode
    cuGraphAddMemsetNode
    cuGraphAddNode_v2
    cuGraphBatchMemOpNodeGetParams
    cuGraphBatchMemOpNodeSetParams
    cuGraphChildGraphNodeGetGraph
    cuGraphClone
    cuGraphConditionalHandleCreate
    cuGraphCreate
    cuGraphDebugDotPrint
    cuGraphDestroy
    cuGraphDestroyNode
    cuGraphEventRecordNodeGetEvent
    cuGraphEventRecordNodeSetEvent
    cuGraphEventWaitNodeGetEvent
    cuGraphEventWaitNodeSetEvent
    cuGraphExecBatchMemOpNodeSetParams
    cuGraphExecChildGraphNodeSetParams
    cuGraphExecDestroy
    cuGraphExecEventRecordNodeSetEvent
    cuGraphExecEventWaitNodeSetEvent
    cuGraphExecExternalSemaphoresSignalNodeSetParams
    cuGraphExecExternalSemaphoresWaitNodeSetParams
    cuGraphExecGetFlags
    cuGraphExecHostNodeSetParams
    cuGraphExecKernelNodeSetParams_v2
    cuGraphExecMemcpyNodeSetParams
    cuGraphExecMemsetNodeSetParams
    cuGraphExecNodeSetParams
    cuGraphExecUpdate_v2
    cuGraphExternalSemaphoresSignalNodeGetParams
    cuGraphExternalSemaphoresSignalNodeSetParams
    cuGraphExternalSemaphoresWaitNodeGetParams
    cuGraphExternalSemaphoresWaitNodeSetParams
    cuGraphGetEdges_v2
    cuGraphGetNodes
    cuGraphGetRootNodes
    cuGraphHostNodeGetParams
    cuGraphHostNodeSetParams
    cuGraphInstantiateWithFlags
    cuGraphInstantiateWithParams
    cuGraphKernelNodeCopyAttributes
    cuGraphKernelNodeGetAttribute
    cuGraphKernelNodeGetParams_v2
    cuGraphKernelNodeSetAttribute
    cuGraphKernelNodeSetParams_v2
    cuGraphLaunch
    cuGraphMemAllocNodeGetParams
    cuGraphMemFreeNodeGetParams
    cuGraphMemcpyNodeGetParams
    cuGraphMemcpyNodeSetParams
    cuGraphMemsetNodeGetParams
    cuGraphMemsetNodeSetParams
    cuGraphNodeFindInClone
    cuGraphNodeGetDependencies_v2
    cuGraphNodeGetDependentNodes_v2
    cuGraphNodeGetEnabled
    cuGraphNodeGetType
    cuGraphNodeSetEnabled
    cuGraphNodeSetParams
    cuGraphReleaseUserObject
    cuGraphRemoveDependencies_v2
    cuGraphRetainUserObject
    cuGraphUpload
    cuStreamBeginCaptureToGraph
    cuStreamBeginCapture_v2
    cuStreamEndCapture
    cuStreamUpdateCaptureDependencies_v2
    cuThreadExchangeStreamCaptureMode
    cuUserObjectCreate
    cuUserObjectRelease
    cuUserObjectRetain
}
