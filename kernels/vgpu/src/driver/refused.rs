//! Functions that a program may look up but that this driver refuses. They are here so that it is
//! told so instead of missing a symbol. Textures, arrays and graphics are left out.
#![allow(unsafe_code)]

use super::code::Code;
use super::entry::{enter, refuse};

// Clusters.
refuse! {
    cuOccupancyMaxActiveClusters
    cuOccupancyMaxPotentialClusterSize
}

// Tensor maps.
refuse! {
    cuTensorMapEncodeIm2col
    cuTensorMapEncodeIm2colWide
    cuTensorMapEncodeTiled
    cuTensorMapReplaceAddress
}

// Libraries, which modules do as well.
refuse! {
    cuKernelGetAttribute
    cuKernelGetFunction
    cuKernelGetLibrary
    cuKernelGetName
    cuKernelGetParamInfo
    cuKernelSetAttribute
    cuKernelSetCacheConfig
    cuLibraryEnumerateKernels
    cuLibraryGetGlobal
    cuLibraryGetKernel
    cuLibraryGetKernelCount
    cuLibraryGetManaged
    cuLibraryGetModule
    cuLibraryGetUnifiedFunction
    cuLibraryLoadData
    cuLibraryLoadFromFile
    cuLibraryUnload
}

// Linking.
refuse! {
    cuLinkAddData_v2
    cuLinkAddFile_v2
    cuLinkComplete
    cuLinkCreate_v2
    cuLinkDestroy
}

// Managed memory.
refuse! {
    cuMemAdvise_v2
    cuMemAllocManaged
    cuMemPrefetchAsync_v2
    cuMemPrefetchBatchAsync
    cuMemRangeGetAttribute
    cuMemRangeGetAttributes
    cuStreamAttachMemAsync
}

// Memory that is reserved and mapped in two steps.
refuse! {
    cuMemAddressFree
    cuMemAddressReserve
    cuMemCreate
    cuMemExportToShareableHandle
    cuMemGetAccess
    cuMemGetAllocationGranularity
    cuMemGetAllocationPropertiesFromHandle
    cuMemImportFromShareableHandle
    cuMemMap
    cuMemRelease
    cuMemRetainAllocationHandle
    cuMemSetAccess
    cuMemUnmap
}

// Memory of other processes, devices and interfaces.
refuse! {
    cuCtxDisablePeerAccess
    cuCtxEnablePeerAccess
    cuDestroyExternalMemory
    cuDestroyExternalSemaphore
    cuExternalMemoryGetMappedBuffer
    cuImportExternalMemory
    cuImportExternalSemaphore
    cuIpcCloseMemHandle
    cuIpcGetEventHandle
    cuIpcGetMemHandle
    cuIpcOpenEventHandle
    cuIpcOpenMemHandle_v2
    cuMemPoolExportPointer
    cuMemPoolExportToShareableHandle
    cuMemPoolGetAccess
    cuMemPoolImportFromShareableHandle
    cuMemPoolImportPointer
    cuMemPoolSetAccess
    cuSignalExternalSemaphoresAsync
    cuWaitExternalSemaphoresAsync
}

// Copies and fills in several dimensions or in batches.
refuse! {
    cuMemcpy2DAsync_v2
    cuMemcpy2DUnaligned_v2
    cuMemcpy2D_v2
    cuMemcpy3DAsync_v2
    cuMemcpy3DBatchAsync_v2
    cuMemcpy3DPeer
    cuMemcpy3DPeerAsync
    cuMemcpy3D_v2
    cuMemcpyBatchAsync_v2
    cuMemsetD2D16Async
    cuMemsetD2D16_v2
    cuMemsetD2D32Async
    cuMemsetD2D32_v2
    cuMemsetD2D8Async
    cuMemsetD2D8_v2
}

// What streams do to memory, and their attributes.
refuse! {
    cuStreamBatchMemOp_v2
    cuStreamCopyAttributes
    cuStreamGetAttribute
    cuStreamSetAttribute
    cuStreamWaitValue32_v2
    cuStreamWaitValue64_v2
    cuStreamWriteValue32_v2
    cuStreamWriteValue64_v2
}
