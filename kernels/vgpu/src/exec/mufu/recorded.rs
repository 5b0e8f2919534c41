//! Results of an H100 80GB HBM3, recorded on 2026-11-26.

use super::*;

/// Results of a function over one binade.
pub(super) struct Binade {
    pub(super) function: fn(f32) -> f32,
    /// The first input; the others follow it bit by bit.
    pub(super) first: f32,
    /// The results of every [`STEP`]th input.
    pub(super) results: [u32; 16],
    /// FNV-1a of every [`STRIDE`]th input's result, as little-endian bytes.
    pub(super) digest: u64,
}

pub(super) const STEP: u32 = 524_287;
pub(super) const STRIDE: usize = 61;

#[rustfmt::skip]
pub(super) const BINADES: [Binade; 34] = [
    Binade {
        function: ex2::<true>,
        first: 0.125,
        results: [
            0x3f8b_95c3, 0x3f8c_57c9, 0x3f8d_1adf, 0x3f8d_df04, 0x3f8e_a439, 0x3f8f_6a81, 0x3f90_31dc, 0x3f90_fa4c,
            0x3f91_c3d3, 0x3f92_8e71, 0x3f93_5a2a, 0x3f94_26fe, 0x3f94_f4ee, 0x3f95_c3fd, 0x3f96_942c, 0x3f97_657c,
        ],
        digest: 0xf318_e2ee_12e4_e98c,
    },
    Binade {
        function: ex2::<true>,
        first: 0.25,
        results: [
            0x3f98_37f1, 0x3f99_e045, 0x3f9b_8d39, 0x3f9d_3ed9, 0x3f9e_f532, 0x3fa0_b050, 0x3fa2_7042, 0x3fa4_3514,
            0x3fa5_fed5, 0x3fa7_cd91, 0x3fa9_a158, 0x3fab_7a37, 0x3fad_583c, 0x3faf_3b75, 0x3fb1_23f2, 0x3fb3_11c0,
        ],
        digest: 0x6d44_1d95_368a_cd63,
    },
    Binade {
        function: ex2::<true>,
        first: 0.5,
        results: [
            0x3fb5_04f3, 0x3fb8_fbae, 0x3fbd_08a3, 0x3fc1_2c4b, 0x3fc5_6728, 0x3fc9_b9bb, 0x3fce_2489, 0x3fd2_a819,
            0x3fd7_44f8, 0x3fdb_fbb2, 0x3fe0_ccd9, 0x3fe5_b900, 0x3fea_c0bf, 0x3fef_e4b0, 0x3ff5_2574, 0x3ffa_83a8,
        ],
        digest: 0xadbf_5e99_66fc_9d74,
    },
    Binade {
        function: ex2::<true>,
        first: 1.0,
        results: [
            0x4000_0000, 0x4005_aac3, 0x400b_95c0, 0x4011_c3d1, 0x4018_37ee, 0x401e_f52f, 0x4025_fed1, 0x402d_5838,
            0x4035_04eb, 0x403d_089b, 0x4045_671f, 0x404e_2480, 0x4057_44ef, 0x4060_cccf, 0x406a_c0b5, 0x4075_256a,
        ],
        digest: 0x05c1_1589_d6ce_06ad,
    },
    Binade {
        function: ex2::<true>,
        first: 2.0,
        results: [
            0x4080_0000, 0x408b_95c0, 0x4098_37ee, 0x40a5_fed1, 0x40b5_04eb, 0x40c5_671f, 0x40d7_44ef, 0x40ea_c0b5,
            0x40ff_ffea, 0x410b_95b4, 0x4118_37e0, 0x4125_fec3, 0x4135_04dc, 0x4145_670e, 0x4157_44dc, 0x416a_c0a1,
        ],
        digest: 0x690c_cb02_dcf5_066a,
    },
    Binade {
        function: ex2::<true>,
        first: -0.25,
        results: [
            0x3f57_44fc, 0x3f54_f35b, 0x3f52_a81e, 0x3f50_6334, 0x3f4e_248c, 0x3f4b_ec17, 0x3f49_b9bf, 0x3f47_8d76,
            0x3f45_672c, 0x3f43_46cf, 0x3f41_2c50, 0x3f3f_179c, 0x3f3d_08a6, 0x3f3a_ff5e, 0x3f38_fbb3, 0x3f36_fd95,
        ],
        digest: 0x4a48_417a_1a33_6b90,
    },
    Binade {
        function: ex2::<true>,
        first: -0.5,
        results: [
            0x3f35_04f2, 0x3f31_23f6, 0x3f2d_583f, 0x3f29_a15c, 0x3f25_fed8, 0x3f22_7045, 0x3f1e_f534, 0x3f1b_8d3c,
            0x3f18_37f3, 0x3f14_f4f4, 0x3f11_c3d7, 0x3f0e_a43e, 0x3f0b_95c6, 0x3f08_9813, 0x3f05_aac9, 0x3f02_cd8c,
        ],
        digest: 0x28ce_2f50_57d6_4045,
    },
    Binade {
        function: ex2::<true>,
        first: -1.0,
        results: [
            0x3f00_0000, 0x3ef5_257e, 0x3eea_c0c9, 0x3ee0_cce2, 0x3ed7_4501, 0x3ece_2491, 0x3ec5_6730, 0x3ebd_08aa,
            0x3eb5_04fa, 0x3ead_5847, 0x3ea5_fedf, 0x3e9e_f53b, 0x3e98_37fa, 0x3e91_c3dd, 0x3e8b_95cd, 0x3e85_aace,
        ],
        digest: 0xca7c_d035_eed9_746f,
    },
    Binade {
        function: ex2::<true>,
        first: -2.0,
        results: [
            0x3e80_0000, 0x3e6a_c0c9, 0x3e57_4501, 0x3e45_6730, 0x3e35_04fa, 0x3e25_fedf, 0x3e18_37fa, 0x3e0b_95cd,
            0x3e00_000b, 0x3dea_c0dd, 0x3dd7_4514, 0x3dc5_6741, 0x3db5_050a, 0x3da5_feed, 0x3d98_3807, 0x3d8b_95d9,
        ],
        digest: 0xfda7_95cf_575e_99ca,
    },
    Binade {
        function: ex2::<true>,
        first: -16.0,
        results: [
            0x3780_0000, 0x3700_000b, 0x3680_0016, 0x3600_0021, 0x3580_002c, 0x3500_0037, 0x3480_0042, 0x3400_004d,
            0x3380_0058, 0x3300_0064, 0x3280_006f, 0x3200_007a, 0x3180_0085, 0x3100_0090, 0x3080_009b, 0x3000_00a6,
        ],
        digest: 0xa2e7_faf8_baea_e576,
    },
    Binade {
        function: rcp::<true>,
        first: 1.0,
        results: [
            0x3f80_0000, 0x3f70_f0f3, 0x3f63_8e3c, 0x3f57_943a, 0x3f4c_ccd2, 0x3f43_0c37, 0x3f3a_2e92, 0x3f32_164a,
            0x3f2a_aab2, 0x3f23_d712, 0x3f1d_89e1, 0x3f17_b42e, 0x3f12_492c, 0x3f0d_3dd3, 0x3f08_8890, 0x3f04_2111,
        ],
        digest: 0xbb68_c7f2_3c68_931c,
    },
    Binade {
        function: rcp::<true>,
        first: 2.0,
        results: [
            0x3f00_0000, 0x3ef0_f0f3, 0x3ee3_8e3c, 0x3ed7_943a, 0x3ecc_ccd2, 0x3ec3_0c37, 0x3eba_2e92, 0x3eb2_164a,
            0x3eaa_aab2, 0x3ea3_d712, 0x3e9d_89e1, 0x3e97_b42e, 0x3e92_492c, 0x3e8d_3dd3, 0x3e88_8890, 0x3e84_2111,
        ],
        digest: 0xf611_d608_91cd_1a98,
    },
    Binade {
        function: rsqrt::<true>,
        first: 1.0,
        results: [
            0x3f80_0000, 0x3f78_5b43, 0x3f71_5bf1, 0x3f6a_ebf8, 0x3f64_f931, 0x3f5f_7486, 0x3f5a_514e, 0x3f55_84d1,
            0x3f51_05f0, 0x3f4c_ccd1, 0x3f48_d2b0, 0x3f45_11a8, 0x3f41_8494, 0x3f3e_26f1, 0x3f3a_f4c0, 0x3f37_ea79,
        ],
        digest: 0x6e82_e190_cd15_e09b,
    },
    Binade {
        function: rsqrt::<true>,
        first: 2.0,
        results: [
            0x3f35_04f2, 0x3f2f_9d54, 0x3f2a_aaac, 0x3f26_1d61, 0x3f21_e89d, 0x3f1e_01b4, 0x3f1a_5fb4, 0x3f16_fb09,
            0x3f13_cd3d, 0x3f10_d0c6, 0x3f0e_00d8, 0x3f0b_594b, 0x3f08_d67b, 0x3f06_7535, 0x3f04_32a9, 0x3f02_0c56,
        ],
        digest: 0xf9b0_b0d0_52c0_9c90,
    },
    Binade {
        function: sqrt::<true>,
        first: 1.0,
        results: [
            0x3f80_0000, 0x3f83_f07b, 0x3f87_c3b5, 0x3f8b_7c18, 0x3f8f_1bbb, 0x3f92_a474, 0x3f96_17e0, 0x3f99_7771,
            0x3f9c_c46d, 0x3f9f_fffc, 0x3fa3_2b27, 0x3fa6_46dd, 0x3fa9_53f9, 0x3fac_5340, 0x3faf_4569, 0x3fb2_2b1b,
        ],
        digest: 0x211a_098c_a969_b691,
    },
    Binade {
        function: sqrt::<true>,
        first: 2.0,
        results: [
            0x3fb5_04f3, 0x3fba_9728, 0x3fbf_ffff, 0x3fc5_42df, 0x3fca_62bf, 0x3fcf_6237, 0x3fd4_4391, 0x3fd9_08d5,
            0x3fdd_b3d2, 0x3fe2_462b, 0x3fe6_c154, 0x3feb_26a3, 0x3fef_774a, 0x3ff3_b463, 0x3ff7_deee, 0x3ffb_f7d8,
        ],
        digest: 0x5b8c_7127_f2b3_3184,
    },
    Binade {
        function: lg2::<true>,
        first: 0.5,
        results: [
            0xbf7f_fffe, 0xbf69_9c0b, 0xbf54_7fcf, 0xbf40_87d8, 0xbf2d_9627, 0xbf1b_911f, 0xbf0a_62bc, 0xbef3_efc8,
            0xbed4_7fe7, 0xbeb6_589d, 0xbe99_6019, 0xbe7a_ff0a, 0xbe45_450e, 0xbe11_6dbb, 0xbdbe_b0c8, 0xbd3b_9e02,
        ],
        digest: 0x0c98_7b49_bcce_d2d7,
    },
    Binade {
        function: lg2::<true>,
        first: 1.0,
        results: [
            0x0000_0000, 0x3db3_1fa4, 0x3e2e_00c0, 0x3e7d_e09d, 0x3ea4_d3b0, 0x3ec8_ddc0, 0x3eeb_3a86, 0x3f06_081b,
            0x3f15_c00c, 0x3f24_d3b1, 0x3f33_4ff3, 0x3f41_403d, 0x3f4e_aebc, 0x3f5b_a491, 0x3f68_29e6, 0x3f74_461f,
        ],
        digest: 0x8ac0_6d19_bd71_2b8c,
    },
    Binade {
        function: lg2::<true>,
        first: 2.0,
        results: [
            0x3f80_0000, 0x3f8b_31fa, 0x3f95_c018, 0x3f9f_bc13, 0x3fa9_34ec, 0x3fb2_3770, 0x3fba_cea1, 0x3fc3_040d,
            0x3fca_e006, 0x3fd2_69d8, 0x3fd9_a7f9, 0x3fe0_a01e, 0x3fe7_575e, 0x3fed_d248, 0x3ff4_14f3, 0x3ffa_230f,
        ],
        digest: 0x1439_9dc6_a8f4_d821,
    },
    Binade {
        function: sin,
        first: 0.5,
        results: [
            0x3ef5_7740, 0x3f01_b147, 0x3f08_8683, 0x3f0f_399d, 0x3f15_c8e9, 0x3f1c_32c4, 0x3f22_7595, 0x3f28_8fca,
            0x3f2e_7fd8, 0x3f34_444a, 0x3f39_dbad, 0x3f3f_4497, 0x3f44_7db1, 0x3f49_85ae, 0x3f4e_5b4b, 0x3f52_fd52,
        ],
        digest: 0xc1be_37cb_b183_f070,
    },
    Binade {
        function: sin,
        first: 1.0,
        results: [
            0x3f57_6aa3, 0x3f5f_a299, 0x3f66_faff, 0x3f6d_6c7d, 0x3f72_f0a5, 0x3f77_81ee, 0x3f7b_1bcc, 0x3f7d_baa1,
            0x3f7f_5bd4, 0x3f7f_fdbf, 0x3f7f_9fc0, 0x3f7e_423b, 0x3f7b_e684, 0x3f78_8eff, 0x3f74_3eff, 0x3f6e_fad5,
        ],
        digest: 0x2560_7a15_7b72_85bb,
    },
    Binade {
        function: cos,
        first: 1.0,
        results: [
            0x3f0a_5141, 0x3ef9_2f65, 0x3edc_c332, 0x3ebf_7a4d, 0x3ea1_71fd, 0x3e82_c849, 0x3e47_37b4, 0x3e08_17ae,
            0x3d90_df14, 0x3c07_f1a1, 0xbd5d_e78c, 0xbdee_76b5, 0xbe36_85b1, 0xbe75_1995, 0xbe99_5c37, 0xbeb7_9256,
        ],
        digest: 0x8205_11a5_dac0_7797,
    },
    Binade {
        function: tanh,
        first: 0.00390625,
        results: [
            0x3b80_0000, 0x3b87_ffbf, 0x3b8f_ffbc, 0x3b97_ffb7, 0x3b9f_ffb0, 0x3ba7_ffa7, 0x3baf_ff9c, 0x3bb7_ff8f,
            0x3bbf_ff80, 0x3bc7_ff6f, 0x3bcf_ff5c, 0x3bd7_ff47, 0x3bdf_ff30, 0x3be7_ff17, 0x3bef_fefc, 0x3bf7_fedf,
        ],
        digest: 0xd627_116e_fba8_b06c,
    },
    Binade {
        function: tanh,
        first: 0.0078125,
        results: [
            0x3bff_ff00, 0x3c07_ff1d, 0x3c0f_fef4, 0x3c17_fec5, 0x3c1f_fe90, 0x3c27_fe55, 0x3c2f_fe14, 0x3c37_fdcd,
            0x3c3f_fd80, 0x3c47_fd2d, 0x3c4f_fcd4, 0x3c57_fc75, 0x3c5f_fc10, 0x3c67_fba5, 0x3c6f_fb34, 0x3c77_fabd,
        ],
        digest: 0x218d_159d_f3de_8a32,
    },
    Binade {
        function: tanh,
        first: 0.015625,
        results: [
            0x3c7f_fb00, 0x3c87_fcd3, 0x3c8f_fc4c, 0x3c97_fbab, 0x3c9f_faf0, 0x3ca7_fa1b, 0x3caf_f92c, 0x3cb7_f823,
            0x3cbf_f700, 0x3cc7_f5c3, 0x3ccf_f46c, 0x3cd7_f2fb, 0x3cdf_f170, 0x3ce7_efcb, 0x3cef_ee0c, 0x3cf7_ec33,
        ],
        digest: 0x9363_d961_7353_98fa,
    },
    Binade {
        function: tanh,
        first: 0.03125,
        results: [
            0x3cff_eac0, 0x3d07_f337, 0x3d0f_f0dc, 0x3d17_ee2f, 0x3d1f_eb30, 0x3d27_e7df, 0x3d2f_e43c, 0x3d37_e047,
            0x3d3f_dc00, 0x3d47_d759, 0x3d4f_d244, 0x3d57_ccc1, 0x3d5f_c6d0, 0x3d67_c071, 0x3d6f_b9a4, 0x3d77_b269,
        ],
        digest: 0x8056_9a84_a571_a112,
    },
    Binade {
        function: tanh,
        first: 0.0625,
        results: [
            0x3d7f_aac0, 0x3d87_cd02, 0x3d8f_c386, 0x3d97_b8cb, 0x3d9f_acd2, 0x3da7_9f9b, 0x3daf_9126, 0x3db7_8173,
            0x3dbf_7082, 0x3dc7_5de4, 0x3dcf_49cb, 0x3dd7_33f5, 0x3ddf_1c63, 0x3de7_0315, 0x3dee_e80b, 0x3df6_cb45,
        ],
        digest: 0x11b0_0b2b_2875_fb7b,
    },
    Binade {
        function: tanh,
        first: 0.125,
        results: [
            0x3dfe_acd0, 0x3e07_34cb, 0x3e0f_0ede, 0x3e16_e493, 0x3e1e_b5ea, 0x3e26_8246, 0x3e2e_497b, 0x3e36_0b67,
            0x3e3d_c80b, 0x3e45_7ecd, 0x3e4d_2f8b, 0x3e54_da1d, 0x3e5c_7e84, 0x3e64_1c48, 0x3e6b_b328, 0x3e73_4311,
        ],
        digest: 0x6b42_ef35_09c2_5853,
    },
    Binade {
        function: tanh,
        first: 0.25,
        results: [
            0x3e7a_cbc0, 0x3e84_e3e3, 0x3e8c_51c5, 0x3e93_af7c, 0x3e9a_fd0a, 0x3ea2_3865, 0x3ea9_6162, 0x3eb0_7786,
            0x3eb7_7ad4, 0x3ebe_69b5, 0x3ec5_43f4, 0x3ecc_0936, 0x3ed2_b97d, 0x3ed9_5386, 0x3edf_d736, 0x3ee6_4448,
        ],
        digest: 0x495b_94b6_63e8_54c1,
    },
    Binade {
        function: tanh,
        first: 0.5,
        results: [
            0x3eec_9a50, 0x3ef9_016c, 0x3f02_841b, 0x3f08_5759, 0x3f0d_fa76, 0x3f13_6bba, 0x3f18_abfd, 0x3f1d_bb1d,
            0x3f22_9920, 0x3f27_4695, 0x3f2b_c48e, 0x3f30_1358, 0x3f34_32f8, 0x3f38_2583, 0x3f3b_ec29, 0x3f3f_877e,
        ],
        digest: 0x7040_0d74_22f2_7a5b,
    },
    Binade {
        function: tanh,
        first: 1.0,
        results: [
            0x3f42_f848, 0x3f49_5fe6, 0x3f4f_2dfe, 0x3f54_6df7, 0x3f59_28b5, 0x3f5d_6a91, 0x3f61_3bf3, 0x3f64_a85d,
            0x3f67_b775, 0x3f6a_737f, 0x3f6c_e334, 0x3f6f_0f63, 0x3f70_fdb8, 0x3f72_b5ba, 0x3f74_3c1b, 0x3f75_9704,
        ],
        digest: 0xec43_7b0e_2e91_035c,
    },
    Binade {
        function: tanh,
        first: 2.0,
        results: [
            0x3f76_caa0, 0x3f78_cc81, 0x3f7a_5fcd, 0x3f7b_9ba5, 0x3f7c_92ae, 0x3f7d_53bb, 0x3f7d_ea79, 0x3f7e_601d,
            0x3f7e_bbe1, 0x3f7f_0370, 0x3f7f_3b38, 0x3f7f_66b2, 0x3f7f_8893, 0x3f7f_a2f9, 0x3f7f_b78a, 0x3f7f_c790,
        ],
        digest: 0xef71_746e_572d_5a76,
    },
    Binade {
        function: tanh,
        first: 4.0,
        results: [
            0x3f7f_d430, 0x3f7f_e55c, 0x3f7f_efb0, 0x3f7f_f634, 0x3f7f_fa00, 0x3f7f_fc64, 0x3f7f_fdd0, 0x3f7f_feac,
            0x3f7f_ff30, 0x3f7f_ff84, 0x3f7f_ffb4, 0x3f7f_ffd4, 0x3f7f_ffe4, 0x3f7f_fff0, 0x3f7f_fff4, 0x3f7f_fffa,
        ],
        digest: 0x594f_5b2b_358a_22c9,
    },
    Binade {
        function: tanh,
        first: 8.0,
        results: [
            0x3f80_0000, 0x3f80_0000, 0x3f80_0000, 0x3f80_0000, 0x3f80_0000, 0x3f80_0000, 0x3f80_0000, 0x3f80_0000,
            0x3f80_0000, 0x3f80_0000, 0x3f80_0000, 0x3f80_0000, 0x3f80_0000, 0x3f80_0000, 0x3f80_0000, 0x3f80_0000,
        ],
        digest: 0xd8e5_5c39_327b_fae8,
    },
];
