"""libs24's calibrated pruning, called from Python: ctypes over the shared library, with OpenBLAS's products."""
import ctypes as C
import os
import numpy as np

F32, F64 = 2, 1


class Blas(C.Structure):
    _fields_ = [('name', C.c_char_p), ('sgemm', C.c_void_p), ('dgemm', C.c_void_p), ('set_threads', C.c_void_p)]


class Error(C.Structure):
    _fields_ = [('status', C.c_int), ('sys_errno', C.c_int), ('offset', C.c_uint64), ('message', C.c_char * 480)]


class Dense(C.Structure):
    _fields_ = [('data', C.c_void_p), ('dtype', C.c_int), ('rank', C.c_int), ('shape', C.POINTER(C.c_size_t)),
                ('strides', C.c_void_p)]


class Options(C.Structure):
    _fields_ = [('axis', C.c_int), ('dtype', C.c_int), ('allow_nonfinite', C.c_bool), ('threads', C.c_uint), ('isa', C.c_int),
                ('scale_group', C.c_size_t), ('permutation', C.c_void_p)]


class OutputError(C.Structure):
    _fields_ = [('training', C.c_double), ('held_out', C.c_double), ('wanda_training', C.c_double),
                ('wanda_held_out', C.c_double), ('damping', C.c_double), ('shape', C.c_double), ('samples', C.c_uint64),
                ('held_out_samples', C.c_uint64), ('method', C.c_char_p), ('refit', C.c_bool)]


class Library:
    def __init__(self, path, openblas=None):
        self.lib = C.CDLL(path)
        self.blas = None
        try:
            ob = C.CDLL(openblas or 'libopenblas.so.0')
        except OSError:
            return
        self.blas = Blas(b'OpenBLAS', *(C.cast(getattr(ob, f), C.c_void_p)
                                        for f in ('cblas_sgemm', 'cblas_dgemm', 'openblas_set_num_threads')))
        self.keep = ob

    def check(self, status, err):
        if status:
            raise RuntimeError(err.message.decode())

    def calibrate(self, x=None, hessian=None, norms=None, threads=0, pieces=1):
        err, cal = Error(), C.c_void_p()
        k = (x if x is not None else hessian if hessian is not None else norms).shape[-1]
        self.check(self.lib.s24_calibration_new(C.byref(cal), C.c_size_t(k), C.c_uint64(len(x) if x is not None else 0),
                                                C.byref(self.blas), threads, C.byref(err)), err)
        if x is not None:
            for piece in np.array_split(np.ascontiguousarray(x, np.float32), pieces):
                self.check(self.lib.s24_calibration_add(cal, piece.ctypes.data_as(C.c_void_p), C.c_size_t(len(piece)),
                                                        C.byref(err)), err)
        if hessian is not None:
            h = np.ascontiguousarray(hessian, np.float64)
            self.check(self.lib.s24_calibration_set_hessian(cal, F64, h.ctypes.data_as(C.c_void_p), C.byref(err)), err)
        if norms is not None:
            n = np.ascontiguousarray(norms, np.float64)
            self.check(self.lib.s24_calibration_set_norms(cal, n.ctypes.data_as(C.c_void_p), C.byref(err)), err)
        return cal

    def free(self, cal):
        self.lib.s24_calibration_free(cal)

    def prune(self, w, method, cal, refit=False, threads=0, axis=2**31 - 1):
        """The dense result, and the output errors."""
        w = np.ascontiguousarray(w)
        shape = (C.c_size_t * w.ndim)(*w.shape)
        dtype = F64 if w.dtype == np.float64 else F32
        dense = Dense(w.ctypes.data, dtype, w.ndim, shape, None)
        options, err, out, t = Options(axis, 0, False, threads, 0, 0, None), Error(), OutputError(), C.c_void_p()
        self.check(self.lib.s24_prune_calibrated(C.byref(dense), method.encode(), cal, C.byref(options), C.c_bool(refit),
                                                 C.byref(t), None, C.byref(out), C.byref(err)), err)
        result = np.empty_like(w)
        status = self.lib.s24_decompress(t, 0, result.ctypes.data_as(C.c_void_p), C.byref(err))
        self.lib.s24_tensor_free(t)
        self.check(status, err)
        return result, out


def here(*parts):
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), *parts)
