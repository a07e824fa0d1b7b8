#!/usr/bin/env python3
"""Train a small Mamba-1 language model (14.7 M parameters) on public-domain books with one GPU.

One file: CUDA kernels for the causal convolution and the selective scan (forward and backward), the
model, the byte-level BPE tokenizer, the data pipeline, the training loop, the export to the Hugging Face
layout (MambaForCausalLM) and the evaluations.

The architecture is Mamba-1 exactly as state-spaces/mamba and transformers.MambaForCausalLM define it:
pre-norm residual blocks kept in fp32, RMSNorm (eps 1e-5), in_proj -> (x, z), depthwise causal conv1d of
width 4 with bias + SiLU, x_proj -> (dt, B, C), dt_proj with bias, softplus, A = -exp(A_log), skip D, gate
silu(z), out_proj, tied embedding.  The parameter names are Hugging Face's, so that a state_dict is a
checkpoint.

Needs: Linux, one NVIDIA GPU (sm_90; see NVCC_ARCH), nvcc, Python 3.12, torch 2.11, numpy, tokenizers,
safetensors (transformers only for `check`).  The kernels are built with nvcc into a plain shared object
and called through ctypes.

How the released model was made (one H100 80GB; DATA holds train-00..09.txt.bz2, val.txt.bz2, test.txt.bz2,
wiki.test.raw, wiki.test.tokens, lambada_test.jsonl):

    python train.py test                               # kernels against a float64 loop, all gradients
    python train.py tokenizer --packs DATA/train-00.txt.bz2 --out W/tokenizer.json
    python train.py tokenize  --tokenizer W/tokenizer.json --shards W/eval   --packs DATA/val.txt.bz2 DATA/test.txt.bz2
    python train.py tokenize  --tokenizer W/tokenizer.json --shards W/shards --packs DATA/train-0?.txt.bz2
    python train.py train     --work W --minutes 25.5 --lr 3e-3 --warmup 500 --eval-every 1000 --save-every 1000
    python train.py export    --work W --out MODEL
    python train.py check     --model MODEL            # same logits as transformers' slow path; golden.safetensors
    python train.py evaluate  --work W --model MODEL --data DATA
    python quant_eval.py      --work W --model MODEL --data DATA --out MODEL/quant_eval.json

The 25.5 minutes were 27,453 steps of 64 windows of 1024 tokens (1.18 M tokens/s), 1.799 G tokens.  `train`
picks up token shards while it runs, because the data reached the machine in parts: it began with train-00
alone, the other packs joined between steps 1100 and 5950 (train.log says when), so train-00 was seen 8.9
times, 01 and 02 6.9 times, the others 5.9 times.  All random numbers come from --seed (1); the kernels are
deterministic (no atomics).  The learning rate follows the clock with --minutes and the step number with
--steps; `--steps 27453` with all shards there from the start gives the same recipe with another order of
data, so a model of the same quality and not the same bits.
"""
import argparse, bz2, ctypes, glob, hashlib, json, math, os, subprocess, sys, tempfile, time
import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

NVCC_ARCH = os.environ.get("NVCC_ARCH", "sm_90")
DEV = "cuda" if torch.cuda.is_available() else "cpu"     # cpu: only for the tests with emulated kernels
CHUNK = 16          # time steps between saved scan states; sequence lengths must be multiples of it

# ------------------------------------------------------------------------------------------- kernels
CUDA_SOURCE = r"""
#ifndef EMULATED
#include <cuda_runtime.h>
#define LAUNCH(kern, grid, block, stream, ...) kern<<<grid, block, 0, stream>>>(__VA_ARGS__)
#define LAST_ERROR() (int)cudaGetLastError()
__device__ __forceinline__ float ex2(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
#endif

// Layouts: every activation is (batch, time, channel), channel fastest.  N = 16 states per channel.
//   xz   (B, L, 2D)  in_proj's output: x, then z        u   (B, L, D)  silu(conv(x))
//   xdbl (B, L, R+32) x_proj's output: dt_low, B, C     dt  (B, L, D)  dt_proj's output without bias
//   hb   (B, L/16, D, 16) fp32 scan state before each chunk of 16 steps
struct bf16 { unsigned short v; };
struct __align__(4) bf16x2 { bf16 a, b; };
struct __align__(8) bf16x4 { bf16 a, b, c, d; };
__device__ __forceinline__ float up(bf16 x) { return __uint_as_float((unsigned)x.v << 16); }
__device__ __forceinline__ float up(float x) { return x; }
__device__ __forceinline__ void down(float x, float& o) { o = x; }
__device__ __forceinline__ void down(float x, bf16& o) {                 // round to nearest even
    unsigned i = __float_as_uint(x); o.v = (unsigned short)((i + 0x7fffu + ((i >> 16) & 1u)) >> 16); }
__device__ __forceinline__ float2 ld2(const float* p) { return *(const float2*)p; }
__device__ __forceinline__ float2 ld2(const bf16* p) { bf16x2 v = *(const bf16x2*)p; return make_float2(up(v.a), up(v.b)); }
__device__ __forceinline__ float4 ld4(const float* p) { return *(const float4*)p; }
__device__ __forceinline__ float4 ld4(const bf16* p) { bf16x4 v = *(const bf16x4*)p; return make_float4(up(v.a), up(v.b), up(v.c), up(v.d)); }
__device__ __forceinline__ void st2(float* p, float x, float y) { *(float2*)p = make_float2(x, y); }
__device__ __forceinline__ void st2(bf16* p, float x, float y) { bf16x2 v; down(x, v.a); down(y, v.b); *(bf16x2*)p = v; }
__device__ __forceinline__ void st4(float* p, float4 f) { *(float4*)p = f; }
__device__ __forceinline__ void st4(bf16* p, float4 f) { bf16x4 v; down(f.x, v.a); down(f.y, v.b); down(f.z, v.c); down(f.w, v.d); *(bf16x4*)p = v; }
__device__ __forceinline__ float sigmoid(float x) { return 1.f / (1.f + __expf(-x)); }
__device__ __forceinline__ float softplus(float x) { return x > 20.f ? x : log1pf(__expf(x)); }
#define LOG2E 1.4426950408889634f
#define LN2 0.6931471805599453f
#define T 16

// ---- causal depthwise convolution of width 4, bias, SiLU: each thread does two channels, TC time steps
#define TC 64
template <typename E> __global__ void __launch_bounds__(128) conv_fwd(const E* xz, const float* w, const float* bias, E* u, int L, int D) {
    int c = (blockIdx.x * 128 + threadIdx.x) * 2, t0 = blockIdx.y * TC; long b = blockIdx.z;
    if (c >= D) return;
    const E* x = xz + b * L * 2 * D + c; E* o = u + b * L * D + c;
    float w0[4], w1[4]; for (int k = 0; k < 4; k++) { w0[k] = w[c * 4 + k]; w1[k] = w[c * 4 + 4 + k]; }
    float b0 = bias[c], b1 = bias[c + 1];
    float2 p0 = make_float2(0.f, 0.f), p1 = p0, p2 = p0;
    if (t0 > 0) { p0 = ld2(x + (long)(t0 - 3) * 2 * D); p1 = ld2(x + (long)(t0 - 2) * 2 * D); p2 = ld2(x + (long)(t0 - 1) * 2 * D); }
    int t1 = min(t0 + TC, L);
    #pragma unroll 8
    for (int t = t0; t < t1; t++) {
        float2 p3 = ld2(x + (long)t * 2 * D);
        float s0 = b0 + w0[0] * p0.x + w0[1] * p1.x + w0[2] * p2.x + w0[3] * p3.x;
        float s1 = b1 + w1[0] * p0.y + w1[1] * p1.y + w1[2] * p2.y + w1[3] * p3.y;
        st2(o + (long)t * D, s0 * sigmoid(s0), s1 * sigmoid(s1));
        p0 = p1; p1 = p2; p2 = p3;
    }
}

// dx goes to the x half of dxz; wpart (B * L/TC, 5, D) holds the sums for the four taps and the bias
template <typename E> __global__ void __launch_bounds__(128) conv_bwd(const E* xz, const float* w, const float* bias, const E* du, E* dxz, float* wpart, int L, int D) {
    int c = (blockIdx.x * 128 + threadIdx.x) * 2, t0 = blockIdx.y * TC; long b = blockIdx.z;
    if (c >= D) return;
    const E* x = xz + b * L * 2 * D + c; const E* g = du + b * L * D + c; E* dx = dxz + b * L * 2 * D + c;
    float w0[4], w1[4]; for (int k = 0; k < 4; k++) { w0[k] = w[c * 4 + k]; w1[k] = w[c * 4 + 4 + k]; }
    float b0 = bias[c], b1 = bias[c + 1];
    float2 z2 = make_float2(0.f, 0.f), p0 = z2, p1 = z2, p2 = z2;       // x[t-3], x[t-2], x[t-1]
    if (t0 > 0) { p0 = ld2(x + (long)(t0 - 3) * 2 * D); p1 = ld2(x + (long)(t0 - 2) * 2 * D); p2 = ld2(x + (long)(t0 - 1) * 2 * D); }
    float2 g0 = z2, g1 = z2, g2 = z2;                                   // ds[t-3], ds[t-2], ds[t-1]
    float d0[5] = {0, 0, 0, 0, 0}, d1[5] = {0, 0, 0, 0, 0};
    int t1 = min(t0 + TC, L);
    #pragma unroll 4
    for (int t = t0; t < t1 + 3; t++) {
        float2 g3 = z2;
        if (t < L) {
            float2 p3 = ld2(x + (long)t * 2 * D), gy = ld2(g + (long)t * D);
            float s0 = b0 + w0[0] * p0.x + w0[1] * p1.x + w0[2] * p2.x + w0[3] * p3.x;
            float s1 = b1 + w1[0] * p0.y + w1[1] * p1.y + w1[2] * p2.y + w1[3] * p3.y;
            float e0 = sigmoid(s0), e1 = sigmoid(s1);
            g3 = make_float2(gy.x * e0 * (1.f + s0 * (1.f - e0)), gy.y * e1 * (1.f + s1 * (1.f - e1)));
            if (t < t1) {
                d0[0] += g3.x * p0.x; d0[1] += g3.x * p1.x; d0[2] += g3.x * p2.x; d0[3] += g3.x * p3.x; d0[4] += g3.x;
                d1[0] += g3.y * p0.y; d1[1] += g3.y * p1.y; d1[2] += g3.y * p2.y; d1[3] += g3.y * p3.y; d1[4] += g3.y;
            }
            p0 = p1; p1 = p2; p2 = p3;
        }
        int s = t - 3;                                                  // dx[s] = sum_k w[k] ds[s+3-k]
        if (s >= t0) st2(dx + (long)s * 2 * D, w0[3] * g0.x + w0[2] * g1.x + w0[1] * g2.x + w0[0] * g3.x,
                                              w1[3] * g0.y + w1[2] * g1.y + w1[1] * g2.y + w1[0] * g3.y);
        g0 = g1; g1 = g2; g2 = g3;
    }
    float* o = wpart + (b * gridDim.y + blockIdx.y) * 5 * D + c;
    for (int k = 0; k < 5; k++) { o[k * D] = d0[k]; o[k * D + 1] = d1[k]; }
}

// ---- selective scan, forward: one thread per channel, its 16 states in registers
//   h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t,  out_t = (C_t . h_t + D u_t) silu(z_t),  delta = softplus(dt + bias)
template <typename E> __global__ void __launch_bounds__(128) scan_fwd(const E* u, const E* dt, const E* xz, const E* xdbl, const float* A,
        const float* Dskip, const float* dtb, E* out, float* hb, int L, int D, int R) {
    __shared__ float4 bc[2][T][8];                                      // B in [0..3], C in [4..7]
    int c = blockIdx.x * 128 + threadIdx.x, nch = L / T, X = R + 32; long b = blockIdx.y;
    const E *pu = u + b * L * D + c, *pd = dt + b * L * D + c, *pz = xz + b * L * 2 * D + D + c;
    const E* px = xdbl + (b * L + threadIdx.x / 8) * X + R + (threadIdx.x % 8) * 4;
    E* po = out + b * L * D + c;
    float h[16], A2[16];
    #pragma unroll
    for (int n = 0; n < 16; n++) { h[n] = 0.f; A2[n] = A[(long)c * 16 + n] * LOG2E; }
    float Dv = Dskip[c], bias = dtb[c];
    const int G = 8;                                                    // steps fetched ahead
    E nu[G], nd[G], nz[G];
    #pragma unroll
    for (int i = 0; i < G; i++) { nu[i] = pu[(long)i * D]; nd[i] = pd[(long)i * D]; nz[i] = pz[(long)i * 2 * D]; }
    float4 nbc = ld4(px);
    for (int k = 0; k < nch; k++) {
        bc[k & 1][threadIdx.x / 8][threadIdx.x % 8] = nbc;
        __syncthreads();
        if (k + 1 < nch) nbc = ld4(px + (long)(k + 1) * T * X);
        if (hb) {
            float4* o = (float4*)(hb + (((long)b * nch + k) * D + c) * 16);
            #pragma unroll
            for (int q = 0; q < 4; q++) o[q] = make_float4(h[q * 4], h[q * 4 + 1], h[q * 4 + 2], h[q * 4 + 3]);
        }
        #pragma unroll
        for (int half = 0; half < T / G; half++) {
            E cu[G], cd[G], cz[G];
            #pragma unroll
            for (int i = 0; i < G; i++) { cu[i] = nu[i]; cd[i] = nd[i]; cz[i] = nz[i]; }
            int tn = k * T + (half + 1) * G;
            if (tn < L) {
                #pragma unroll
                for (int i = 0; i < G; i++) { nu[i] = pu[(long)(tn + i) * D]; nd[i] = pd[(long)(tn + i) * D]; nz[i] = pz[(long)(tn + i) * 2 * D]; }
            }
            #pragma unroll
            for (int i = 0; i < G; i++) {
                float uu = up(cu[i]), del = softplus(up(cd[i]) + bias), z = up(cz[i]), du = del * uu, y = Dv * uu;
                const float4* q = bc[k & 1][half * G + i];
                #pragma unroll
                for (int m = 0; m < 4; m++) {
                    float4 B4 = q[m], C4 = q[m + 4];
                    h[m*4+0] = h[m*4+0] * ex2(del * A2[m*4+0]) + du * B4.x; y += h[m*4+0] * C4.x;
                    h[m*4+1] = h[m*4+1] * ex2(del * A2[m*4+1]) + du * B4.y; y += h[m*4+1] * C4.y;
                    h[m*4+2] = h[m*4+2] * ex2(del * A2[m*4+2]) + du * B4.z; y += h[m*4+2] * C4.z;
                    h[m*4+3] = h[m*4+3] * ex2(del * A2[m*4+3]) + du * B4.w; y += h[m*4+3] * C4.w;
                }
                down(y * z * sigmoid(z), po[(long)(k * T + half * G + i) * D]);
            }
        }
    }
}

// ---- selective scan, backward: 64 channels x 4 groups of 4 states per block; chunks of 16 steps from last
// to first; within a chunk the states are recomputed from hb and kept in registers.
// Outputs: du, ddt (before bias), dz (z half of dxz); partial sums dbc (D/64, B*L, 32), dA (B, D, 16), dD, dbias (B, D).
template <typename E> __global__ void __launch_bounds__(256, 2) scan_bwd(const E* u, const E* dt, const E* xz, const E* xdbl, const float* A,
        const float* Dskip, const float* dtb, const float* hb, const E* dout, E* du, E* ddt, E* dxz, float* dbc, float* dA, float* dD, float* dbias,
        int L, int D, int R) {
    __shared__ float s_del[T][64], s_u[T][64], s_dy[T][64], s_dz[T][64], s_red[8][T][32];
    __shared__ float4 s_bc[T][8];
    const int tid = threadIdx.x, w = tid >> 5, lane = tid & 31, g = lane & 3, cc = w * 8 + (lane >> 2), c0 = blockIdx.x * 64, c = c0 + cc;
    const int nch = L / T, X = R + 32; const long b = blockIdx.y, base = b * L;
    float A2[4], dAr[4] = {0, 0, 0, 0}, dh[4] = {0, 0, 0, 0}, dDr = 0.f, dbr = 0.f;
    #pragma unroll
    for (int j = 0; j < 4; j++) A2[j] = A[(long)c * 16 + g * 4 + j] * LOG2E;
    const float Dv = Dskip[c];
    const int lc = lane * 2;                                            // loads and stores: warp w does rows w and w+8
    const float bias0 = dtb[c0 + lc], bias1 = dtb[c0 + lc + 1];
    for (int k = nch - 1; k >= 0; k--) {
        #pragma unroll
        for (int r = w; r < T; r += 8) {
            long row = base + k * T + r, i = row * D + c0 + lc;
            float2 xu = ld2(u + i), xd = ld2(dt + i), xg = ld2(dout + i), z = ld2(xz + row * 2 * D + D + c0 + lc);
            float e0 = sigmoid(z.x), e1 = sigmoid(z.y);
            s_u[r][lc] = xu.x; s_u[r][lc + 1] = xu.y;
            s_del[r][lc] = softplus(xd.x + bias0); s_del[r][lc + 1] = softplus(xd.y + bias1);
            s_dy[r][lc] = xg.x * z.x * e0; s_dy[r][lc + 1] = xg.y * z.y * e1;
            s_dz[r][lc] = xg.x * e0 * (1.f + z.x * (1.f - e0)); s_dz[r][lc + 1] = xg.y * e1 * (1.f + z.y * (1.f - e1));
        }
        if (tid < 128) s_bc[tid >> 3][tid & 7] = ld4(xdbl + (base + k * T + (tid >> 3)) * X + R + (tid & 7) * 4);
        float4 h4 = *(const float4*)(hb + ((b * nch + k) * D + c) * 16 + g * 4);
        float h0[4] = {h4.x, h4.y, h4.z, h4.w}, h[T][4];
        __syncthreads();
        #pragma unroll
        for (int t = 0; t < T; t++) {                                   // states of the chunk
            float del = s_del[t][cc], q = del * s_u[t][cc]; float4 B4 = s_bc[t][g];
            h[t][0] = (t ? h[t - (t > 0)][0] : h0[0]) * ex2(del * A2[0]) + q * B4.x;
            h[t][1] = (t ? h[t - (t > 0)][1] : h0[1]) * ex2(del * A2[1]) + q * B4.y;
            h[t][2] = (t ? h[t - (t > 0)][2] : h0[2]) * ex2(del * A2[2]) + q * B4.z;
            h[t][3] = (t ? h[t - (t > 0)][3] : h0[3]) * ex2(del * A2[3]) + q * B4.w;
        }
        #pragma unroll
        for (int t = T - 1; t >= 0; t--) {
            float del = s_del[t][cc], uu = s_u[t][cc], dy = s_dy[t][cc], q = del * uu, y = 0.f, s1 = 0.f, s2 = 0.f;
            float4 B4 = s_bc[t][g], C4 = s_bc[t][g + 4];
            float Bv[4] = {B4.x, B4.y, B4.z, B4.w}, Cv[4] = {C4.x, C4.y, C4.z, C4.w}, v[8];
            #pragma unroll
            for (int j = 0; j < 4; j++) {
                dh[j] += dy * Cv[j];
                v[j] = dh[j] * q; v[4 + j] = dy * h[t][j];
                y += h[t][j] * Cv[j]; s1 += dh[j] * Bv[j];
                dh[j] *= ex2(del * A2[j]);                              // now the gradient of h_{t-1}
                float da = dh[j] * (t ? h[t - (t > 0)][j] : h0[j]);     // gradient of delta * A
                dAr[j] += da * del; s2 += da * A2[j];
            }
            // sums over the 4 lanes of a channel: lane g = 0 ends with y, 1 with s1, 2 with the gradient of delta
            float gd = uu * s1 + s2 * LN2, k0, k1;
            k0 = ((lane & 1) ? s1 : y) + __shfl_xor_sync(0xffffffffu, (lane & 1) ? y : s1, 1);
            k1 = ((lane & 1) ? 0.f : gd) + __shfl_xor_sync(0xffffffffu, (lane & 1) ? gd : 0.f, 1);
            k0 = ((lane & 2) ? k1 : k0) + __shfl_xor_sync(0xffffffffu, (lane & 2) ? k0 : k1, 2);
            dDr += dy * uu;
            if (g == 0) s_dz[t][cc] *= k0 + Dv * uu;                    // (columns of the own warp only)
            if (g == 1) s_dy[t][cc] = del * k0 + Dv * dy;               // du
            if (g == 2) { k0 *= 1.f - __expf(-del); dbr += k0; s_del[t][cc] = k0; }    // softplus' = 1 - exp(-softplus)
            // dB and dC: 8 values summed over the warp's 8 channels; each lane ends with one of the 32 sums
            float v4[4], v2[2], v1;
            #pragma unroll
            for (int j = 0; j < 4; j++) { float s = (lane & 4) ? v[j] : v[4 + j]; v4[j] = ((lane & 4) ? v[4 + j] : v[j]) + __shfl_xor_sync(0xffffffffu, s, 4); }
            #pragma unroll
            for (int j = 0; j < 2; j++) { float s = (lane & 8) ? v4[j] : v4[2 + j]; v2[j] = ((lane & 8) ? v4[2 + j] : v4[j]) + __shfl_xor_sync(0xffffffffu, s, 8); }
            { float s = (lane & 16) ? v2[0] : v2[1]; v1 = ((lane & 16) ? v2[1] : v2[0]) + __shfl_xor_sync(0xffffffffu, s, 16); }
            s_red[w][t][((lane >> 2) & 1) * 16 + g * 4 + ((lane >> 3) & 1) * 2 + ((lane >> 4) & 1)] = v1;
        }
        __syncthreads();
        #pragma unroll
        for (int r = w; r < T; r += 8) {
            long row = base + k * T + r, i = row * D + c0 + lc;
            st2(du + i, s_dy[r][lc], s_dy[r][lc + 1]);
            st2(ddt + i, s_del[r][lc], s_del[r][lc + 1]);
            st2(dxz + row * 2 * D + D + c0 + lc, s_dz[r][lc], s_dz[r][lc + 1]);
            float s = 0.f;
            #pragma unroll
            for (int x = 0; x < 8; x++) s += s_red[x][r][lane];
            dbc[(((long)blockIdx.x * gridDim.y + b) * L + k * T + r) * 32 + lane] = s;
        }
        __syncthreads();
    }
    *(float4*)(dA + (b * D + c) * 16 + g * 4) = make_float4(dAr[0], dAr[1], dAr[2], dAr[3]);
    if (g == 0) dD[b * D + c] = dDr;
    if (g == 2) dbias[b * D + c] = dbr;
}

// sum of the P partial dB, dC -> columns R.. of dxdbl (M, R+32)
template <typename E> __global__ void __launch_bounds__(256) reduce_dbc(const float* part, E* dxdbl, int P, int M, int R) {
    int i = blockIdx.x * 256 + threadIdx.x; if (i >= M * 8) return;
    float4 s = make_float4(0.f, 0.f, 0.f, 0.f);
    for (int p = 0; p < P; p++) { float4 v = *(const float4*)(part + ((long)p * M * 8 + i) * 4); s.x += v.x; s.y += v.y; s.z += v.z; s.w += v.w; }
    st4(dxdbl + (long)(i / 8) * (R + 32) + R + (i % 8) * 4, s);
}

#ifdef EMULATED
typedef void* cudaStream_t;
#endif
#define DISPATCH(body) do { if (half) { typedef bf16 E; body; } else { typedef float E; body; } return LAST_ERROR(); } while (0)
extern "C" {
int k_conv_fwd(int half, const void* xz, const float* w, const float* b, void* u, int B, int L, int D, cudaStream_t s) {
    DISPATCH(LAUNCH(conv_fwd<E>, dim3((D + 255) / 256, (L + TC - 1) / TC, B), 128, s, (const E*)xz, w, b, (E*)u, L, D)); }
int k_conv_bwd(int half, const void* xz, const float* w, const float* b, const void* du, void* dxz, float* part, int B, int L, int D, cudaStream_t s) {
    DISPATCH(LAUNCH(conv_bwd<E>, dim3((D + 255) / 256, (L + TC - 1) / TC, B), 128, s, (const E*)xz, w, b, (const E*)du, (E*)dxz, part, L, D)); }
int k_scan_fwd(int half, const void* u, const void* dt, const void* xz, const void* xdbl, const float* A, const float* Ds, const float* dtb,
               void* out, float* hb, int B, int L, int D, int R, cudaStream_t s) {
    DISPATCH(LAUNCH(scan_fwd<E>, dim3(D / 128, B), 128, s, (const E*)u, (const E*)dt, (const E*)xz, (const E*)xdbl, A, Ds, dtb, (E*)out, hb, L, D, R)); }
int k_scan_bwd(int half, const void* u, const void* dt, const void* xz, const void* xdbl, const float* A, const float* Ds, const float* dtb,
               const float* hb, const void* dout, void* du, void* ddt, void* dxz, float* dbc, float* dA, float* dD, float* dbias,
               int B, int L, int D, int R, cudaStream_t s) {
    DISPATCH(LAUNCH(scan_bwd<E>, dim3(D / 64, B), 256, s, (const E*)u, (const E*)dt, (const E*)xz, (const E*)xdbl, A, Ds, dtb, hb, (const E*)dout,
                    (E*)du, (E*)ddt, (E*)dxz, dbc, dA, dD, dbias, L, D, R)); }
int k_reduce_dbc(int half, const float* part, void* dxdbl, int P, int M, int R, cudaStream_t s) {
    DISPATCH(LAUNCH(reduce_dbc<E>, dim3((M * 8 + 255) / 256), 256, s, part, (E*)dxdbl, P, M, R)); }
}
"""

_lib = None


def kernels():
    """The compiled kernels as a ctypes library (built once per source text)."""
    global _lib
    if _lib is None:
        key = hashlib.sha256((CUDA_SOURCE + NVCC_ARCH).encode()).hexdigest()[:16]
        so = os.path.join(os.environ.get("KERNEL_DIR", tempfile.gettempdir()), f"mamba1_{key}.so")
        if not os.path.exists(so):
            src = so[:-3] + f".{os.getpid()}.cu"
            open(src, "w").write(CUDA_SOURCE)
            subprocess.run(["nvcc", "-O3", "-std=c++17", f"-arch={NVCC_ARCH}", "-shared", "-Xcompiler", "-fPIC", "-Xptxas", "-v",
                            "-o", so + f".{os.getpid()}", src], check=True, stderr=open(src + ".log", "w"))
            os.replace(so + f".{os.getpid()}", so)
        _lib = ctypes.CDLL(so)
    return _lib


def call(name, *args):
    """Call k_<name>: tensors go as pointers, ints as ints, the current stream last."""
    conv, half = [], 0
    for a in args:
        if a is None or torch.is_tensor(a):
            conv.append(ctypes.c_void_p(a.data_ptr() if a is not None else None))
            if a is not None and a.dtype == torch.bfloat16:
                half = 1
        else:
            conv.append(ctypes.c_int(a))
    stream = torch.cuda.current_stream().cuda_stream if DEV == "cuda" else 0
    err = getattr(kernels(), "k_" + name)(ctypes.c_int(half), *conv, ctypes.c_void_p(stream))
    if err:
        raise RuntimeError(f"CUDA error {err} launching {name}")


def inner_fwd_impl(xz, conv_w, conv_b, wx, wdt, dt_bias, A, Dskip, save):
    """conv + SiLU, x_proj, dt_proj, scan, gate.  xz and wx, wdt in bf16 or all in fp32; the rest fp32."""
    Bn, L, D2 = xz.shape
    D, R = D2 // 2, wdt.shape[1]
    assert xz.is_contiguous() and L % CHUNK == 0 and D % 128 == 0
    u = torch.empty(Bn, L, D, dtype=xz.dtype, device=xz.device)
    call("conv_fwd", xz, conv_w, conv_b, u, Bn, L, D)
    xdbl = (u.view(-1, D) @ wx.t()).view(Bn, L, R + 32)
    dt = (xdbl.view(-1, R + 32)[:, :R] @ wdt.t()).view(Bn, L, D)
    out = torch.empty_like(u)
    hb = torch.empty((Bn, L // CHUNK, D, 16) if save else (0,), dtype=torch.float32, device=xz.device)
    call("scan_fwd", u, dt, xz, xdbl, A, Dskip, dt_bias, out, hb if save else None, Bn, L, D, R)
    return out, u, xdbl, dt, hb


def inner_bwd_impl(dout, xz, u, xdbl, dt, hb, conv_w, conv_b, wx, wdt, dt_bias, A, Dskip):
    """Gradients of inner_fwd's inputs, in their order."""
    Bn, L, D = u.shape
    R, M, P, dev, f32 = wdt.shape[1], Bn * L, D // 64, u.device, torch.float32
    dout = dout.contiguous()
    dxz, du, ddt, dxdbl = torch.empty_like(xz), torch.empty_like(u), torch.empty_like(u), torch.empty_like(xdbl)
    dbc = torch.empty(P, M, 32, dtype=f32, device=dev)
    dA = torch.empty(Bn, D, 16, dtype=f32, device=dev)
    dD, dbias = torch.empty(Bn, D, dtype=f32, device=dev), torch.empty(Bn, D, dtype=f32, device=dev)
    call("scan_bwd", u, dt, xz, xdbl, A, Dskip, dt_bias, hb, dout, du, ddt, dxz, dbc, dA, dD, dbias, Bn, L, D, R)
    call("reduce_dbc", dbc, dxdbl, P, M, R)
    dxdbl, du, ddt = dxdbl.view(M, R + 32), du.view(M, D), ddt.view(M, D)
    dxdbl[:, :R] = ddt @ wdt
    dwdt = ddt.t() @ xdbl.view(M, R + 32)[:, :R]
    dwx = dxdbl.t() @ u.view(M, D)
    du = torch.addmm(du, dxdbl, wx)
    wpart = torch.empty(Bn * ((L + 63) // 64), 5, D, dtype=f32, device=dev)
    call("conv_bwd", xz, conv_w, conv_b, du, dxz, wpart, Bn, L, D)
    wsum = wpart.sum(0)
    return (dxz, wsum[:4].t().contiguous(), wsum[4].clone(), dwx, dwdt, dbias.sum(0), dA.sum(0), dD.sum(0))


if hasattr(torch.library, "custom_op"):
    from torch import Tensor

    @torch.library.custom_op("mamba1::inner_fwd", mutates_args=())
    def inner_fwd(xz: Tensor, conv_w: Tensor, conv_b: Tensor, wx: Tensor, wdt: Tensor, dt_bias: Tensor, A: Tensor,
                  Dskip: Tensor, save: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return inner_fwd_impl(xz, conv_w, conv_b, wx, wdt, dt_bias, A, Dskip, save)

    @inner_fwd.register_fake
    def _(xz, conv_w, conv_b, wx, wdt, dt_bias, A, Dskip, save):
        Bn, L, D2 = xz.shape
        D = D2 // 2
        return (xz.new_empty(Bn, L, D), xz.new_empty(Bn, L, D), xz.new_empty(Bn, L, wx.shape[0]), xz.new_empty(Bn, L, D),
                A.new_empty((Bn, L // CHUNK, D, 16) if save else (0,)))

    @torch.library.custom_op("mamba1::inner_bwd", mutates_args=())
    def inner_bwd(dout: Tensor, xz: Tensor, u: Tensor, xdbl: Tensor, dt: Tensor, hb: Tensor, conv_w: Tensor, conv_b: Tensor, wx: Tensor,
                  wdt: Tensor, dt_bias: Tensor, A: Tensor, Dskip: Tensor
                  ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        return inner_bwd_impl(dout, xz, u, xdbl, dt, hb, conv_w, conv_b, wx, wdt, dt_bias, A, Dskip)

    @inner_bwd.register_fake
    def _(dout, xz, u, xdbl, dt, hb, conv_w, conv_b, wx, wdt, dt_bias, A, Dskip):
        e = torch.empty_like
        return e(xz), e(conv_w), e(conv_b), e(wx), e(wdt), e(dt_bias), e(A), e(Dskip)

    def _setup(ctx, inputs, output):
        xz, conv_w, conv_b, wx, wdt, dt_bias, A, Dskip, save = inputs
        out, u, xdbl, dt, hb = output
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(xz, u, xdbl, dt, hb, conv_w, conv_b, wx, wdt, dt_bias, A, Dskip)

    def _backward(ctx, dout, *unused):
        return (*inner_bwd(dout, *ctx.saved_tensors), None)

    inner_fwd.register_autograd(_backward, setup_context=_setup)


def inner_reference(xz, conv_w, conv_b, wx, wdt, dt_bias, A, Dskip):
    """The same function in plain PyTorch, one time step after the other, any dtype."""
    Bn, L, D2 = xz.shape
    D, R = D2 // 2, wdt.shape[1]
    x, z = xz.split(D, -1)
    u = F.silu(F.conv1d(F.pad(x.transpose(1, 2), (3, 0)), conv_w[:, None], conv_b, groups=D).transpose(1, 2))
    low, Bm, Cm = (u @ wx.t()).split([R, 16, 16], -1)
    delta = F.softplus(low @ wdt.t() + dt_bias)
    h, ys = xz.new_zeros(Bn, D, 16), []
    for t in range(L):
        h = torch.exp(delta[:, t, :, None] * A) * h + (delta[:, t] * u[:, t])[:, :, None] * Bm[:, t, None, :]
        ys.append((h * Cm[:, t, None, :]).sum(-1))
    return (torch.stack(ys, 1) + Dskip * u) * F.silu(z)


# ------------------------------------------------------------------------------------------- model
class Config:
    def __init__(self, **kw):
        self.vocab_size, self.hidden_size, self.num_hidden_layers, self.expand = 8192, 384, 12, 2
        self.state_size, self.time_step_rank, self.conv_kernel, self.layer_norm_epsilon = 16, 24, 4, 1e-5
        self.__dict__.update(kw)

    def hf(self):
        d = dict(architectures=["MambaForCausalLM"], model_type="mamba", vocab_size=self.vocab_size, hidden_size=self.hidden_size,
                 intermediate_size=self.expand * self.hidden_size, num_hidden_layers=self.num_hidden_layers, n_layer=self.num_hidden_layers,
                 state_size=self.state_size, expand=self.expand, conv_kernel=self.conv_kernel, use_bias=False, use_conv_bias=True,
                 hidden_act="silu", initializer_range=0.1, residual_in_fp32=True, time_step_rank=self.time_step_rank,
                 time_step_scale=1.0, time_step_min=0.001, time_step_max=0.1, time_step_init_scheme="random", time_step_floor=1e-4,
                 rescale_prenorm_residual=False, d_model=self.hidden_size, d_inner=self.expand * self.hidden_size,
                 layer_norm_epsilon=self.layer_norm_epsilon, rms_norm=True, tie_word_embeddings=True,
                 bos_token_id=0, eos_token_id=0, pad_token_id=0, use_cache=True, torch_dtype="float32")
        return d


class RMSNorm(nn.Module):
    def __init__(self, d, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(d)), eps

    def forward(self, x):
        return rms_norm(x, self.weight, self.eps)


class Mixer(nn.Module):
    def __init__(self, c):
        super().__init__()
        d, di = c.hidden_size, c.expand * c.hidden_size
        self.in_proj = nn.Linear(d, 2 * di, bias=False)
        self.conv1d = nn.Conv1d(di, di, c.conv_kernel, groups=di, bias=True)
        self.x_proj = nn.Linear(di, c.time_step_rank + 2 * c.state_size, bias=False)
        self.dt_proj = nn.Linear(c.time_step_rank, di, bias=True)
        self.out_proj = nn.Linear(di, d, bias=False)
        self.A_log = nn.Parameter(torch.log(torch.arange(1, c.state_size + 1).float()).repeat(di, 1))
        self.D = nn.Parameter(torch.ones(di))
        # initialisation of mamba_ssm.modules.mamba_simple
        nn.init.uniform_(self.dt_proj.weight, -c.time_step_rank ** -0.5, c.time_step_rank ** -0.5)
        dt = torch.exp(torch.rand(di) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
        with torch.no_grad():
            self.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))      # inverse softplus
            self.out_proj.weight.div_(math.sqrt(c.num_hidden_layers))

    def reference(self, x):
        return self.out_proj(inner_reference(self.in_proj(x), self.conv1d.weight.squeeze(1), self.conv1d.bias, self.x_proj.weight,
                                             self.dt_proj.weight, self.dt_proj.bias, -torch.exp(self.A_log), self.D))


def rms_norm(x, weight, eps=1e-5):
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def block_forward(res, dtype: torch.dtype, save: bool, norm_w, in_w, conv_w, conv_b, x_w, dt_w, dt_b, A_log, D, out_w):
    """One residual block; res and everything elementwise in fp32, the matrix products in `dtype`."""
    xz = F.linear(rms_norm(res, norm_w).to(dtype), in_w.to(dtype))
    y = inner_fwd(xz, conv_w.squeeze(1), conv_b, x_w.to(dtype), dt_w.to(dtype), dt_b, -torch.exp(A_log), D, save)[0]
    return res + F.linear(y, out_w.to(dtype))


def head_loss(res, dtype: torch.dtype, norm_w, emb, targets):
    logits = F.linear(rms_norm(res, norm_w).to(dtype), emb.to(dtype))
    return F.cross_entropy(logits.view(-1, logits.shape[-1]).float(), targets.reshape(-1))


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm, self.mixer = RMSNorm(c.hidden_size, c.layer_norm_epsilon), Mixer(c)

    def weights(self):
        m = self.mixer
        return (self.norm.weight, m.in_proj.weight, m.conv1d.weight, m.conv1d.bias, m.x_proj.weight, m.dt_proj.weight, m.dt_proj.bias,
                m.A_log, m.D, m.out_proj.weight)

    def reference(self, res):
        return res + self.mixer.reference(self.norm(res))


class Mamba(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config, self.dtype_ = c, torch.float32
        self.backbone = nn.Module()
        self.backbone.embeddings = nn.Embedding(c.vocab_size, c.hidden_size)
        nn.init.normal_(self.backbone.embeddings.weight, std=0.02)
        self.backbone.layers = nn.ModuleList(Block(c) for _ in range(c.num_hidden_layers))
        self.backbone.norm_f = RMSNorm(c.hidden_size, c.layer_norm_epsilon)
        self.block_fn, self.head_fn = block_forward, head_loss             # replaced by compiled ones for training

    def compile(self):
        """torch.compile, once for all blocks and once for the head with the loss (forward with gradients only)."""
        self.block_fn = torch.compile(block_forward, dynamic=False, fullgraph=True)
        self.head_fn = torch.compile(head_loss, dynamic=False, fullgraph=True)

    def hidden(self, ids):
        res, save = self.backbone.embeddings(ids), torch.is_grad_enabled()
        for b in self.backbone.layers:
            res = (self.block_fn if save else block_forward)(res, self.dtype_, save, *b.weights())
        return res

    def loss(self, ids, targets):
        fn = self.head_fn if torch.is_grad_enabled() else head_loss
        return fn(self.hidden(ids), self.dtype_, self.backbone.norm_f.weight, self.backbone.embeddings.weight, targets)

    def logits(self, ids):
        """Logits of any length of input (padded to whole chunks on the right)."""
        L = ids.shape[1]
        res = self.hidden(F.pad(ids, (0, -L % CHUNK)))[:, :L]
        return F.linear(self.backbone.norm_f(res).to(self.dtype_), self.backbone.embeddings.weight.to(self.dtype_)).float()

    def reference(self, ids):
        """Plain PyTorch in the parameters' own dtype (float64 after .double())."""
        res = self.backbone.embeddings(ids)
        for b in self.backbone.layers:
            res = b.reference(res)
        return F.linear(self.backbone.norm_f(res), self.backbone.embeddings.weight)


# ------------------------------------------------------------------------------------------- tokenizer, data
EOT = "<|endoftext|>"


def read_books(path):
    text = (bz2.open(path).read() if path.endswith(".bz2") else open(path, "rb").read()).decode("utf-8")
    return [b for b in (x.strip("\n") for x in text.split(EOT)) if b]


def pieces(book, size=100_000):
    """Cut a book before paragraph breaks (the pre-tokenizer splits there too, so the tokens are the same)."""
    out, start = [], 0
    while len(book) - start > size:
        cut = book.find("\n\n", start + size)
        if cut < 0:
            break
        out.append(book[start:cut])
        start = cut
    return out + [book[start:]]


def make_tokenizer(paths, out, vocab_size):
    from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers, processors
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tok.decoder = decoders.ByteLevel()
    tok.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=[EOT], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tok.train_from_iterator((p for path in paths for book in read_books(path) for p in pieces(book, 20_000)), trainer)
    assert tok.token_to_id(EOT) == 0 and tok.get_vocab_size() == vocab_size
    for s in ["Hello, world!\n\n\tIt's 1234.5 \u20ac \u00e9\u4e2d\U0001f600  end ", "".join(map(chr, range(256)))]:
        assert tok.decode(tok.encode(s).ids) == s, s
    tok.save(out)
    print(f"tokenizer: {tok.get_vocab_size()} tokens -> {out}", flush=True)


def tokenize_pack(args):
    path, out, tokenizer = args
    from tokenizers import Tokenizer
    t0, tok, books = time.time(), Tokenizer.from_file(tokenizer), read_books(path)
    todo = [EOT] + [x for book in books for x in pieces(book) + [EOT]]
    parts = []
    for i in range(0, len(todo), 256):
        parts += [np.array(e.ids, np.uint16) for e in tok.encode_batch_fast(todo[i:i + 256], add_special_tokens=False)]
    ids = np.concatenate(parts)
    np.save(out + ".tmp.npy", ids)
    os.replace(out + ".tmp.npy", out)
    print(f"tokenized {os.path.basename(path)}: {len(books)} books, {sum(map(len, todo))} characters, {len(ids)} tokens, {time.time()-t0:.1f} s", flush=True)


def tokenize(packs, shards, tokenizer):
    import multiprocessing as mp
    os.makedirs(shards, exist_ok=True)
    jobs = [(p, os.path.join(shards, os.path.basename(p).split(".")[0] + ".npy"), tokenizer) for p in packs]
    jobs = [j for j in jobs if not os.path.exists(j[1])]
    with mp.get_context("spawn").Pool(max(1, len(jobs))) as pool:
        pool.map(tokenize_pack, jobs, chunksize=1)


def token_bytes(tokenizer_json):
    """Number of bytes each token stands for (0 for <|endoftext|>)."""
    vocab = json.load(open(tokenizer_json))["model"]["vocab"]
    n = np.zeros(len(vocab), np.int64)
    for s, i in vocab.items():
        n[i] = 0 if s == EOT else len(s)            # byte-level BPE: one character stands for one byte
    return n


class Data:
    """Random windows of L+1 tokens, without replacement within an epoch; shards may arrive at any time."""

    def __init__(self, shards, L, seed, device, capacity=320_000_000):
        self.dir, self.L, self.device = shards, L, device
        self.rng, self.seen, self.epoch, self.used = np.random.default_rng(seed), {}, 0, 0
        self.tokens = torch.zeros(capacity, dtype=torch.int16, device=device)
        self.n, self.deck = 0, np.zeros(0, np.int64)

    def windows(self, start, end):
        phase = int(self.rng.integers(self.L))
        return np.arange(start + phase, end - self.L - 1, self.L)

    def poll(self):
        for path in sorted(glob.glob(os.path.join(self.dir, "*[0-9].npy"))):
            if path not in self.seen:
                ids = np.load(path).astype(np.int16)
                a, b = self.n, self.n + len(ids)
                self.tokens[a:b] = torch.from_numpy(ids).to(self.device)
                self.n, self.seen[path] = b, (a, b)
                self.deck = np.concatenate([self.deck, self.windows(a, b)])
                self.rng.shuffle(self.deck)
                yield os.path.basename(path), len(ids)

    def batch(self, B):
        if len(self.deck) < B:
            self.epoch += 1
            fresh = np.concatenate([self.windows(a, b) for a, b in self.seen.values()])
            self.rng.shuffle(fresh)
            self.deck = np.concatenate([fresh, self.deck])      # taken from the end: the old rest first
        starts, self.deck = self.deck[-B:], self.deck[:-B]
        idx = torch.from_numpy(starts).to(self.device)[:, None] + torch.arange(self.L + 1, device=self.device)
        w = self.tokens[idx].long()
        self.used += B * self.L
        return w[:, :-1], w[:, 1:]


# ------------------------------------------------------------------------------------------- training
@torch.no_grad()
def val_loss(model, ids, L, nbytes, max_windows=None, B=64):
    """Mean nats/token and bits/byte over consecutive windows of L tokens, each from an empty state."""
    n = (len(ids) - 1) // L
    n = min(n, max_windows or n)
    nats = toks = byts = 0
    for i in range(0, n, B):
        m = min(B, n - i)
        x, y = ids[i * L:(i + m) * L].view(m, L), ids[i * L + 1:(i + m) * L + 1].view(m, L)
        nats += float(model.loss(x, y)) * y.numel()
        toks += y.numel()
        byts += int(nbytes[y].sum())
    return nats / toks, nats / math.log(2) / byts, toks


def train(a):
    torch.manual_seed(a.seed)
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    dev, L, B = DEV, a.seq, a.batch
    os.makedirs(a.work, exist_ok=True)
    logf = open(os.path.join(a.work, "train.log"), "a")

    def log(s):
        print(s, file=logf, flush=True)
        print(s, flush=True)

    model = Mamba(Config()).to(dev)
    model.dtype_ = torch.bfloat16
    nparam = sum(p.numel() for p in model.parameters())
    plain = [p for n, p in model.named_parameters() if p.ndim < 2 or "A_log" in n or "norm" in n or "conv1d" in n]
    matrices = [p for n, p in model.named_parameters() if not any(p is q for q in plain)]
    opt = torch.optim.AdamW([dict(params=matrices, weight_decay=a.wd), dict(params=plain, weight_decay=0.0)],
                            lr=a.lr, betas=(0.9, 0.95), eps=1e-8, fused=True)
    if a.compile:
        model.compile()
    log(f"# {time.strftime('%Y-%m-%d %H:%M:%S')} {torch.cuda.get_device_name()}, torch {torch.__version__}; {nparam} parameters, "
        f"{sum(p.numel() for p in matrices)} with weight decay; args {vars(a)}")
    data = Data(os.path.join(a.work, "shards"), L, a.seed, dev)
    while data.n == 0:                                                       # wait for the first tokens
        for name, n in data.poll():
            log(f"# shard {name}: {n} tokens, before step 0")
        time.sleep(0.2)
    nbytes = torch.from_numpy(token_bytes(os.path.join(a.work, "tokenizer.json"))).to(dev)
    val = os.path.join(a.work, "eval", "val.npy")
    step, t_before, ckpt = 0, 0.0, os.path.join(a.work, "state.pt")
    if os.path.exists(ckpt):
        s = torch.load(ckpt, map_location=dev, weights_only=False)
        model.load_state_dict(s["model"]); opt.load_state_dict(s["opt"])
        step, t_before, data.used, data.rng = s["step"], s["seconds"], s["used"], np.random.default_rng(a.seed + s["step"])
        log(f"# resumed at step {step}")
    x, y = data.batch(B)                                                     # compile before the clock starts
    model.loss(x, y).backward()
    opt.zero_grad(set_to_none=True)
    torch.cuda.synchronize()
    log(f"# compiled; {torch.cuda.max_memory_allocated()/2**30:.1f} GiB")
    data.used -= B * L
    t0 = t_log = time.time() - t_before
    tok_log, losses, val_ids = data.used, [], None
    while True:
        now = time.time() - t0
        frac = step / a.steps if a.steps else now / (a.minutes * 60)
        if frac >= 1:
            break
        lr = a.lr * min((step + 1) / a.warmup, a.lr_end + (1 - a.lr_end) * 0.5 * (1 + math.cos(math.pi * frac)))
        for grp in opt.param_groups:
            grp["lr"] = lr
        x, y = data.batch(B)
        loss = model.loss(x, y)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        losses.append(loss.detach())
        opt.step()
        opt.zero_grad(set_to_none=True)
        step += 1
        if step % 50 == 0 or step <= 10:
            l, now = float(torch.stack(losses).mean()), time.time()
            if not math.isfinite(l + float(norm)):
                log(f"# not finite at step {step}: loss {l} norm {float(norm)}")
                sys.exit(1)                                                  # start again from the last state.pt
            log(f"step {step} loss {l:.4f} lr {lr:.3e} norm {float(norm):.3f} tokens {data.used} epoch {data.epoch} "
                f"tok/s {(data.used-tok_log)/(now-t_log):.0f} s {now-t0:.1f}")
            losses, t_log, tok_log = [], now, data.used
            for name, n in data.poll():
                log(f"# shard {name}: {n} tokens, before step {step}")
        if step % a.eval_every == 0:
            if val_ids is None and os.path.exists(val):
                val_ids = torch.from_numpy(np.load(val).astype(np.int64)).to(dev)
            if val_ids is not None:
                v, bpb, n = val_loss(model, val_ids, L, nbytes, 256)
                log(f"val step {step} loss {v:.4f} nats/token {bpb:.4f} bits/byte ({n} tokens) s {time.time()-t0:.1f}")
        if step % a.save_every == 0 and math.isfinite(float(norm)):
            torch.save(dict(model=model.state_dict(), opt=opt.state_dict(), step=step, seconds=time.time() - t0, used=data.used), ckpt + ".tmp")
            os.replace(ckpt + ".tmp", ckpt)
    torch.save(dict(model=model.state_dict(), step=step, seconds=time.time() - t0, used=data.used), os.path.join(a.work, "final.pt"))
    if val_ids is not None:
        v, bpb, n = val_loss(model, val_ids, L, nbytes)
        log(f"val step {step} loss {v:.4f} nats/token {bpb:.4f} bits/byte ({n} tokens, all) s {time.time()-t0:.1f}")
    log(f"# done: {step} steps, {data.used} tokens seen of {data.n} distinct, {time.time()-t0:.1f} s, "
        f"{data.used/(time.time()-t0):.0f} tok/s over all, {torch.cuda.max_memory_allocated()/2**30:.1f} GiB")


# ------------------------------------------------------------------------------------------- export, check, evaluation
def export(a):
    from safetensors.torch import save_file
    path = next(p for p in [os.path.join(a.work, "final.pt"), os.path.join(a.work, "state.pt")] if os.path.exists(p))
    s = torch.load(path, map_location="cpu", weights_only=False)
    os.makedirs(a.out, exist_ok=True)
    half = ("embeddings.weight", "in_proj.weight", "x_proj.weight", "dt_proj.weight", "out_proj.weight", "conv1d.weight")
    sd = {k: (v.half() if k.endswith(half) else v.float()).contiguous() for k, v in s["model"].items()}
    assert all(torch.isfinite(v).all() for v in sd.values())
    save_file(sd, os.path.join(a.out, "model.safetensors"), metadata={"format": "pt"})
    c = Config().hf()
    json.dump(c, open(os.path.join(a.out, "config.json"), "w"), indent=2)
    import shutil
    shutil.copy(os.path.join(a.work, "tokenizer.json"), a.out)
    json.dump(dict(tokenizer_class="PreTrainedTokenizerFast", bos_token=EOT, eos_token=EOT, pad_token=EOT, unk_token=EOT, add_prefix_space=False,
                   clean_up_tokenization_spaces=False), open(os.path.join(a.out, "tokenizer_config.json"), "w"), indent=2)
    print(f"exported step {s['step']}, {sum(v.numel() for v in sd.values())} parameters, from {path}", flush=True)


def load(model_dir, device=DEV, dtype=torch.float32):
    from safetensors.torch import load_file
    c = json.load(open(os.path.join(model_dir, "config.json")))
    m = Mamba(Config(**{k: c[k] for k in vars(Config())}))
    m.load_state_dict({k: v.float() for k, v in load_file(os.path.join(model_dir, "model.safetensors")).items()}, strict=True)
    m.dtype_ = dtype
    return m.to(device).eval().requires_grad_(False)


GOLDEN_TEXT = ("It was a dark and stormy night; the rain fell in torrents, except at occasional intervals, when it was checked by a violent "
               "gust of wind which swept up the streets (for it is in London that our scene lies), rattling along the house-tops, and "
               "fiercely agitating the scanty flame of the lamps that struggled against the darkness.")


@torch.no_grad()
def check(a):
    """Our fp32 kernels, our float64 loop and transformers' slow path must agree; writes golden.safetensors."""
    from tokenizers import Tokenizer
    from transformers import MambaForCausalLM
    from safetensors.torch import save_file
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    ids = torch.tensor([Tokenizer.from_file(os.path.join(a.model, "tokenizer.json")).encode(GOLDEN_TEXT).ids[:64]], device=DEV)
    assert ids.shape[1] == 64
    m = load(a.model)
    ours = m.logits(ids)
    f64 = load(a.model).double().reference(ids)
    hf = MambaForCausalLM.from_pretrained(a.model, dtype=torch.float32).to(DEV).eval()
    theirs = hf(ids).logits.float()
    hsd = hf.state_dict()
    differ = {k: float((v - hsd[k]).abs().max()) if k in hsd else -1.0 for k, v in m.state_dict().items()}
    m.dtype_ = torch.bfloat16
    r = dict(max_abs_logit=float(f64.abs().max()), kernels_fp32_vs_hf_fp32=float((ours - theirs).abs().max()),
             kernels_fp32_vs_float64=float((ours - f64).abs().max()), hf_fp32_vs_float64=float((theirs - f64).abs().max()),
             kernels_bf16_vs_float64=float((m.logits(ids) - f64).abs().max()), hf_parameters=sum(p.numel() for p in hf.parameters()),
             parameters_that_differ=[k for k, v in differ.items() if v], nats_per_token=float(F.cross_entropy(f64[0, :-1], ids[0, 1:])))
    print("check", json.dumps(r), flush=True)
    json.dump(r, open(os.path.join(a.model, "check.json"), "w"), indent=1)
    save_file(dict(input_ids=ids[0].cpu(), logits_float64=f64[0].cpu().contiguous(), logits_hf_float32=theirs[0].cpu().contiguous()),
              os.path.join(a.model, "golden.safetensors"), metadata={"text": GOLDEN_TEXT})
    if r["kernels_fp32_vs_hf_fp32"] >= 1e-3:
        sys.exit("check FAILED")


@torch.no_grad()
def generate(m, tok, prompts, n, temperature=0.0, top_p=1.0, seed=0):
    g, out = torch.Generator(DEV).manual_seed(seed), [tok.encode(p).ids for p in prompts]
    for _ in range(n):
        width = max(map(len, out))
        ids = torch.tensor([o + [0] * (width - len(o)) for o in out], device=DEV)
        last = m.logits(ids)[torch.arange(len(out)), torch.tensor([len(o) - 1 for o in out], device=DEV)]
        if temperature == 0:
            nxt = last.argmax(-1)
        else:
            p, order = (last / temperature).softmax(-1).sort(-1, descending=True)
            p[p.cumsum(-1) - p > top_p] = 0
            nxt = order.gather(-1, torch.multinomial(p, 1, generator=g))[:, 0]
        for o, t in zip(out, nxt.tolist()):
            o.append(t)
    return [tok.decode(o) for o in out]


@torch.no_grad()
def lambada(m, tok, path):
    """Accuracy (all tokens of the last word are the argmax) and perplexity of the last word."""
    items = []
    for line in open(path):
        text = json.loads(line)["text"].strip()
        ctx, word = text.rsplit(" ", 1)
        items.append((tok.encode(ctx).ids, tok.encode(" " + word).ids))
    items.sort(key=lambda x: len(x[0]) + len(x[1]))
    right = nats = 0
    for i in range(0, len(items), 64):
        batch = items[i:i + 64]
        seqs = [[0] + c + w for c, w in batch]
        width = max(map(len, seqs))
        lp = m.logits(torch.tensor([s + [0] * (width - len(s)) for s in seqs], device=DEV)).log_softmax(-1)
        for r, (s, (c, w)) in enumerate(zip(seqs, batch)):
            pos = torch.arange(len(s) - len(w) - 1, len(s) - 1, device=DEV)
            tgt = torch.tensor(w, device=DEV)
            nats -= float(lp[r, pos, tgt].sum())
            right += bool((lp[r, pos].argmax(-1) == tgt).all())
    return dict(accuracy=right / len(items), ppl_last_word=math.exp(nats / len(items)), n=len(items))


@torch.no_grad()
def evaluate(a):
    from tokenizers import Tokenizer
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    tok, m = Tokenizer.from_file(os.path.join(a.model, "tokenizer.json")), load(a.model)
    nbytes = torch.from_numpy(token_bytes(os.path.join(a.model, "tokenizer.json"))).to(DEV)
    res = {}
    for name in ["val", "test"]:
        p = os.path.join(a.work, "eval", name + ".npy")
        if os.path.exists(p):
            l, bpb, n = val_loss(m, torch.from_numpy(np.load(p).astype(np.int64)).to(DEV), 1024, nbytes)
            res["books_" + name] = dict(nats_per_token=l, ppl=math.exp(l), bits_per_byte=bpb, tokens=n)
    for name, f in [("wikitext2_raw_test", "wiki.test.raw"), ("wikitext2_tokenised_test", "wiki.test.tokens")]:
        p = os.path.join(a.data, f)
        if os.path.exists(p):
            text = open(p, encoding="utf-8", newline="").read()
            ids = torch.tensor([0] + tok.encode(text).ids, device=DEV)
            l, bpb, n = val_loss(m, ids, 1024, nbytes)
            words = len(text.split()) * n / (len(ids) - 1)
            res[name] = dict(nats_per_token=l, ppl=math.exp(l), bits_per_byte=bpb, tokens=n, word_ppl=math.exp(l * n / words))
    p = os.path.join(a.data, "lambada_test.jsonl")
    if os.path.exists(p):
        res["lambada"] = lambada(m, tok, p)
    prompts = ["The old man looked out of the window and", "\"I do not believe you,\" said Elizabeth,",
               "In the year 1805, the ship sailed from Bristol", "The theory of the formation of mountains"]
    res["greedy"] = generate(m, tok, prompts, 80)
    res["sampled_t0.8_p0.95"] = generate(m, tok, prompts, 120, 0.8, 0.95, seed=1)
    json.dump(res, open(os.path.join(a.model, "eval.json"), "w"), indent=1, ensure_ascii=False)
    print("evaluate", json.dumps(res, indent=1, ensure_ascii=False), flush=True)


# ------------------------------------------------------------------------------------------- tests of the kernels
def random_inner(Bn, L, D, R, dtype, device, seed=0):
    g = torch.Generator().manual_seed(seed)
    r = lambda *s: torch.randn(*s, generator=g)
    dt = torch.exp(torch.rand(D, generator=g) * 4.6 - 6.9)
    a = [r(Bn, L, 2 * D), r(D, 4) * 0.5, r(D) * 0.3, r(R + 32, D) * D ** -0.5 * 2, r(D, R) * R ** -0.5, dt + torch.log(-torch.expm1(-dt)),
         -torch.exp(torch.log(torch.arange(1, 17).float()).repeat(D, 1) + 0.1 * r(D, 16)), r(D)]
    lowp = (0, 3, 4)                                     # the inputs that are bf16 in training
    return [x.to(dtype).to(device) if i in lowp else x.to(device) for i, x in enumerate(a)], r(Bn, L, D).to(dtype).to(device)


def rel(x, ref):
    return float((x.double() - ref).norm() / ref.norm())


def test(a=None, shapes=((2, 64, 256, 24), (3, 144, 768, 24)), device=DEV, dtypes=(torch.float32, torch.bfloat16)):
    """The kernels against the plain float64 loop on the same inputs: output and all gradients."""
    names = "xz conv_w conv_b wx wdt dt_bias A D".split()
    ok = True
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for dtype in dtypes:
        for i, (Bn, L, D, R) in enumerate(shapes):
            args, dout = random_inner(Bn, L, D, R, dtype, device, seed=i)
            ref_in = [x.double().requires_grad_() for x in args]
            ref = inner_reference(*ref_in)
            ref.backward(dout.double())
            out, *saved = inner_fwd_impl(*args, True)
            grads = inner_bwd_impl(dout, args[0], *saved, *args[1:])
            errs = {"out": rel(out, ref.detach()), **{n: rel(g, r.grad) for n, g, r in zip(names, grads, ref_in)}}
            again = inner_bwd_impl(dout, args[0], *saved, *args[1:])
            same = all(torch.equal(x, y) for x, y in zip(grads, again))
            limit = 3e-5 if dtype == torch.float32 else 2e-2
            good = all(e < limit for e in errs.values()) and same
            ok &= good
            print("test", dtype, (Bn, L, D, R), "ok" if good else "FAILED", "deterministic" if same else "NOT deterministic",
                  " ".join(f"{k} {v:.1e}" for k, v in errs.items()), flush=True)
    return ok


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    s = p.add_subparsers(dest="cmd", required=True)
    q = s.add_parser("tokenizer"); q.add_argument("--packs", nargs="+"); q.add_argument("--out"); q.add_argument("--vocab", type=int, default=8192)
    q = s.add_parser("tokenize"); q.add_argument("--packs", nargs="+"); q.add_argument("--shards"); q.add_argument("--tokenizer")
    q = s.add_parser("test")
    q = s.add_parser("train"); q.add_argument("--work", required=True)
    q.add_argument("--minutes", type=float, default=20.0); q.add_argument("--steps", type=int, default=0)
    q.add_argument("--batch", type=int, default=64); q.add_argument("--seq", type=int, default=1024)
    q.add_argument("--lr", type=float, default=2.5e-3); q.add_argument("--lr-end", type=float, default=0.02, help="final lr / peak lr")
    q.add_argument("--warmup", type=int, default=400); q.add_argument("--wd", type=float, default=0.1); q.add_argument("--seed", type=int, default=1)
    q.add_argument("--eval-every", type=int, default=500); q.add_argument("--save-every", type=int, default=1000)
    q.add_argument("--no-compile", dest="compile", action="store_false")
    q = s.add_parser("export"); q.add_argument("--work"); q.add_argument("--out")
    q = s.add_parser("check"); q.add_argument("--model")
    q = s.add_parser("evaluate"); q.add_argument("--work"); q.add_argument("--model"); q.add_argument("--data")
    a = p.parse_args()
    if a.cmd == "tokenizer":
        make_tokenizer(a.packs, a.out, a.vocab)
    elif a.cmd == "tokenize":
        tokenize(a.packs, a.shards, a.tokenizer)
    elif a.cmd == "test":
        sys.exit(0 if test() else 1)
    else:
        dict(train=train, export=export, check=check, evaluate=evaluate)[a.cmd](a)


if __name__ == "__main__":
    main()
