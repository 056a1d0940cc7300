"""Calls and PyTorch's verdict on each: an error, or an output of a shape and dtype; arrays are NumPy's.

``CALLS`` holds blocks. The first line of a block is a call with a gap, ``_``. Its name may be a family, or several
names with ``|`` between. Below stand verdicts, and after each the texts that fill the gap:

- ``raises``: refused. ``raises by value``: refused for the numbers in an array, unknown while tracing.
- ``f32(2)``: accepted, a float32 of shape (2,); ``f32(...)``: of the common shape of the arrays. ``by value``:
  its numbers could have been refused.
- ``built``: an object made.
- ``wider f32(2)``: PyTorch refuses, this library accepts: ids of any integer dtype, 16-bit floats in every loss, and
  one id in brackets for logits without a batch also with smoothing.
- ``narrower f32(2)``: PyTorch accepts, this library refuses: inputs without classes, class weights that are no vector.

``f32(2,3)`` makes a float32 of shape (2, 3), all 0.5; an integer array is all 0; ``i64([0,3])`` has the values given.
``GOOD`` is a call that works, ``f32(2,3),f32(2,3)`` unless listed.
"""

FAMILIES = {
    "IDS": "cross_entropy|nll_loss",
    "BINARY": "binary_cross_entropy|binary_cross_entropy_with_logits",
    "REGRESSION": "mse_loss|l1_loss|smooth_l1_loss|huber_loss",
    "WEIGHTED": "mse_loss|l1_loss|huber_loss",
    "PAIRED": "kl_div|hinge_embedding_loss|poisson_nll_loss|REGRESSION",
    "NAMED": "IDS|BINARY|soft_margin_loss|multi_margin_loss|multilabel_margin_loss|hinge_embedding_loss"
    "|linear_cross_entropy|REGRESSION",
    "COMPARED": "poisson_nll_loss|gaussian_nll_loss|multilabel_soft_margin_loss",
    "SOFT": "softmax|log_softmax|softmin",
    "CLASSES": "CrossEntropyLoss|NLLLoss|BCELoss|BCEWithLogitsLoss|KLDivLoss|SoftMarginLoss"
    "|MultiLabelSoftMarginLoss|MultiLabelMarginLoss|HingeEmbeddingLoss|PoissonNLLLoss|GaussianNLLLoss|MSELoss"
    "|L1Loss|SmoothL1Loss",
}

GOOD = {
    "cross_entropy": "f32(2,3),i64(2)",
    "nll_loss": "f32(2,3),i64(2)",
    "linear_cross_entropy": "f32(2,4),f32(3,4),i64(2)",
    "multi_margin_loss": "f32(2,3),i64(2)",
    "multilabel_margin_loss": "f32(2,3),i64(2,3)",
    "gaussian_nll_loss": "f32(2,3),f32(2,3),f32(2,3)",
}

CALLS = """
IDS(_)
  f32(): f32(1,3),i64(1) f32(3,3),i64(3) f32(2,1),i64(2) f32(1),i64() f32(0,3),i64(0) f32(2,3,0),i64(2,0)
    f32(0,3,4),i64(0,4) f32(3),i64(),f32(3) f32(3),i64(1),f32(3) f32(2,1),i64(2),f32(1)
  narrower f32(): f32(0,0),i64(0)
  f16(): f16(2,3),i64(2) f16(2,3),i64(2),f16(3)
  bf16(): bf16(2,3),i64(2)
  f64(): f64(2,3),i64(2) f64(2,3),i64(2),f64(3)
  narrower f32() by value: f32(0),i64([-100]) f32(2,0),i64([-100,-100])
  f32() by value: f32(3),i64([-100]) f32(1,3,2),i64([[-100,0]]) f32([[nan,inf,0],[1,2,3]]),i64(2)
  raises: f32(),i64() f32(),i64(1) f32(),f32() f32(1,3),i64() f32(1,3),f32(3) f32(3,3),i64(3,3) f32(3,3),f32(3)
    f32(2,1),i64(2,1) f32(2,1),f32(2) f32(0,3),i64(1) i32(2,3),i64(2) i64(2,3),i64(2) b(2,3),i64(2) f32(3),i64(),f32()
    f32(3),i64(),f32(1) f32(2,1),i64(2),f32() bf16(2,3),i64(2),f32(3) f64(2,3),i64(2),f32(3)
  raises by value: f32(3),i64([3]) f32(3),i64([-1]) f32(1,3,2),i64([[0,3]]) f32(1,3,2,1),i64([[[0],[-1]]])
IDS(f32(3),_)
  f32(): i64() i64(1)
  raises: i64(0) i64(2) i64(3) i64(1,1) i64(1,3) f32() f32(1) f32(2)
IDS(f32(2,3),_)
  f32(): i64(2) u8(2)
  f32() by value: i64([0,-100]) i64([-100,-100]) i64([0,3]),ignore_index=3 i64([-1,0]),ignore_index=-1
    u8([0,255]),ignore_index=255 i64([0,-100]),f32(3)
  wider f32(): i8(2) i16(2) i32(2) u16(2) u32(2) u64(2)
  raises: i64() i64(1) i64(3) i64(0) i64(2,1) i64(1,2) i64(3,2) f32() f32(2) f32(3) f32(2,1) f32(1,3) f32(3,2)
    f32(1,2,3) b(2)
  raises by value: i64([0,3]) i64([0,-1]) i64([-99,0]) i64([0,2**40]) i64([0,2**32-100]) i64([-1,3]),ignore_index=3
    u8([0,3]) u8([0,255]),ignore_index=-1 u8([0,156]) i64([0,3]),reduction='sum' i64([0,3]),f32(3)
IDS(f32(2,3,4),_)
  f32(): i64(2,4)
  wider f32(): u8(2,4) i32(2,4)
  raises: i64(4,2) i64(2,3) i64(2,3,4) i64(2,1,4) i64(2) i64(1,4) f32(2,4) f32(2,4,3) b(2,4)
IDS(f32(2,3,4,5),_)
  f32(): i64(2,4,5)
  raises: i64(2,3,4,5) i64(2,1,4,5) i64(2,5,4) i64(3,4,5) f32(2,4,5) f32(2,4,5,3)
IDS(f32(2,3),i64(2),_)
  f32(): f32(3)
  raises: f32() f32(1) f32(2) f32(4) f32(0) f32(1,3) f32(3,1) f32(2,3) f16(3) f64(3) i64(3) b(3) [1.,1.,1.] 2.0
IDS(f32(2,3,4),i64(2,4),_)
  f32(): f32(3)
  narrower f32(): f32(1,3) f32(3,1) f32(1,1,3)
  raises: f32() f32(1) f32(4) f32(2,3) f16(3)
IDS(GOOD,ignore_index=_)
  f32(): 0 -1 7 -2**40
  raises: True 1.0 None 2**63
cross_entropy(_)
  f32(): f32(1),f32(1) f32(3),f32(3) f32(1,3),f32(1,3) f32(2,1),f32(2,1) f32(3,3),f32(3,3) f32(0,3),f32(0,3)
    f32(2,3,4),f32(2,3,4) f32(2,3,4,5),f32(2,3,4,5) f32(2,3,4),f32(2,3,4),f32(3) f32(3),f32(3),f32(3)
    f16(2,3),f16(2,3),f32(3) f16(2,3),bf16(2,3),b(3)
  narrower f32(): f32(0),f32(0) f32(2,0),f32(2,0) f32(2,0),f32(2,0),f32(0)
  f32() by value: f32(2,3),f32([[2,3,4],[-1,0,nan]])
  raises: f32(),f32(1) f32(1),i64(1) f32(2,3,4),f32(2,1,4) f32(2,3),i32(2,3) f32(2,3),u8(2,3)
    f32(2,3,4),f32(2,3,4),f32(1,3)
nll_loss(_)
  f32(): f32(1),i64(1)
  raises: f32(2,3),f32(2,3) f32(1),f32(1) f32(2,3),i64(2,3)
cross_entropy(f32(2,3),f32(2,3),_)
  f32(): f32(3) f16(3) i64(3) b(3) ignore_index=-1 ignore_index=-100 label_smoothing=-0.1 label_smoothing=nan
  f64(): f64(3)
  raises: f32() f32(1) f32(2) f32(4) f32(1,3) f32(2,3) ignore_index=0 ignore_index=1 ignore_index=2**40
    label_smoothing=1.2
cross_entropy|linear_cross_entropy(GOOD,label_smoothing=_)
  f32(): 1.0 1 True 0 -0.1 -2.0 nan
  raises: 1.2 1.0001 inf None 'a'
cross_entropy(_,label_smoothing=0.1)
  f32(): f32(3),i64() f32(1),i64() f32(2,3),i64(2) f32(2,3,4),i64(2,4) f32(0,3),i64(0) f32(2,3),i64(2),f32(3)
    f32(2,3,4),i64(2,4),f32(3) f32(3),i64(),f32(3)
  f32() by value: f32(2,3),i64([0,-100]) f32(2,3),i64([0,3]),ignore_index=3
  wider f32(): f32(3),i64(1)
  raises: f32(2,3,4),i64(2,3) f32(2,3),i64(2),f32(1) f32(2,3),i64(2),f16(3) f32(2,3,4),i64(2,4),f32(1,3)
    f32(2,3,4),i64(2,4),f32(1,1,3)
  raises by value: f32(2,3),i64([0,3]) f32(2,3),i64([0,-1])
linear_cross_entropy(f32(2,4),_)
  f32(): f32(1,4),i64(2) f32(3,4),i64(2) f32(3,4),f32(2,3) f32(3,5,4),i64(2,5) f32(3,5,4),f32(2,3,5)
    f32(3,5,6,4),i64(2,5,6)
  narrower f32(): f32(0,4),f32(2,0)
  f32() by value: f32(3,4),i64([0,-100]) f32(3,4),i64([0,3]),ignore_index=3
  raises: f32(),i64(2) f32(4),i64(2) f32(3,5),i64(2) f32(4,3),i64(2) f32(3,4),i64() f32(3,4),i64(3) f32(3,4),i64(2,1)
    f32(3,4),i64(2,3) f32(3,4),f32(2) f32(3,4),f32(3,2) f32(3,5,4),i64(2) f32(3,5,4),f32(2,5,3) f16(3,4),i64(2)
    f64(3,4),i64(2) i64(3,4),i64(2) [[1.]],i64(2) f32(3,4),[0,1]
  raises by value: f32(3,4),i64([0,3]) f32(3,4),i64([0,-1])
linear_cross_entropy(_)
  f32(): f32(4),f32(3,4),i64() f32(4),f32(3,4),i64(1) f32(4),f32(3,4),f32(3) f32(0,4),f32(3,4),i64(0)
    f32(2,0),f32(3,0),i64(2)
  f16(): f16(2,4),f16(3,4),i64(2)
  bf16(): bf16(2,4),bf16(3,4),i64(2)
  f64(): f64(2,4),f64(3,4),i64(2)
  raises: f32(),f32(3,4),i64() f32(2,2,4),f32(3,4),i64(2,2) f32(4),f32(3,4),i64(2) f32(4),f32(3,5,4),i64(5)
    f32(1,4),f32(3,4),i64() bf16(2,4),f16(3,4),i64(2) i64(2,4),i64(3,4),i64(2)
  wider f32(): f32(4),f32(3,4),i64(1),label_smoothing=0.1
linear_cross_entropy(f32(2,4),f32(3,4),_)
  f32(): u8(2) f16(2,3)
  f64(): f64(2,3)
  wider f32(): i8(2) i16(2) i32(2) u32(2) u64(2)
  raises: b(2) i64(2,3),ignore_index=1
linear_cross_entropy(GOOD,_)
  f32(): linear_bias=f32(3) weight=f32(3) ignore_index=None ignore_index=-1 ignore_index=0
  raises: linear_bias=f32() linear_bias=f32(1) linear_bias=f32(4) linear_bias=f32(1,3) linear_bias=f32(2,3)
    linear_bias=f16(3) linear_bias=i64(3) weight=f32() weight=f32(1) weight=f32(4) weight=f32(1,3) weight=f16(3)
    ignore_index=True ignore_index=1.0
linear_cross_entropy(f32(2,4),f32(3,5,4),i64(2,5),_)
  f32(): linear_bias=f32(3,5) weight=f32(3)
  narrower f32(): weight=f32(1,3)
  raises: linear_bias=f32(3) linear_bias=f32(15) linear_bias=f32(5,3) weight=f32(5)
linear_cross_entropy(f32(2,4),f32(3,4),f32(2,3),_)
  f32(): ignore_index=None label_smoothing=0.1 weight=f32(3)
  raises: ignore_index=-100 ignore_index=-1 ignore_index=0 label_smoothing=1.2
BINARY(_)
  f32(): f32(),f32() f32(3),f32(3) f32(0,3),f32(0,3) f32(2,0),f32(2,0) f32(0),f32(0) f32(2,3,4),f32(2,3,4)
    f32(),f32(),f32() f32(0,3),f32(0,3),f32(3)
  raises: f32(),f32(1) f32(1),f32() f32(3),f32(1) f32(3),f32(1,3) f32(2,3),f32(3) f32(2,3),f32(1,3) f32(2,3),f32(2,1)
    f32(2,3),f32(3,2) f32(2,3),f32() f32(2,1),f32(2) f32(2),f32(2,1) f32(2,3,4),f32(2,4,3) f32(6),f32(2,3)
    f32(2,3),i64(2) f32(3),f32(3),f32(1,3) f32(1,3),f32(1,3),f32(2,3) f32(),f32(),f32(1) f32(3),f32(3),[1.,1.,1.]
  raises: f32(3),f32(3),2.0
BINARY(f32(2,3),f32(2,3),_)
  f32(): f32() f32(1) f32(3) f32(2,1) f32(1,3) f32(2,3) f16(2,3) f64(3) i64(3) b(3)
  raises: f32(2) f32(4) f32(3,2) f32(1,2,3) f32(4,2,3) f32(0)
binary_cross_entropy(_)
  f32() by value: f32([0.5,0.0]),f32(2) f32([0.5,1.0]),f32(2) f32([0.5,-0.0]),f32(2) f32(2),f32([0.0,1.0])
  raises by value: f32([0.5,-0.1]),f32(2) f32([0.5,1.1]),f32(2) f32([0.5,nan]),f32(2) f32([0.5,inf]),f32(2)
    f32(2),f32([0.5,-0.1]) f32(2),f32([0.5,1.1]) f32(2),f32([0.5,nan]) f16([1.001]),f16(1) f32([2.0]),f32(1),f32(1)
    f32([2.0]),f32(1),reduction='sum'
binary_cross_entropy_with_logits(_)
  f32() by value: f32([nan,inf]),f32(2) f32(2),f32([-3.0,7.0]) f32(2),f32(2),pos_weight=f32([-1.0,nan])
  f32(): f32(),f32(),pos_weight=f32()
  f64(): f32(3),f64(3),pos_weight=f16(3)
  f16(): f32(3),f16(3),f64(3),pos_weight=f64(3)
  raises: f32(3),f32(3),pos_weight=f32(1,3) f32(),f32(),pos_weight=f32(1)
binary_cross_entropy_with_logits(f32(2,3),f32(2,3),pos_weight=_)
  f32(): f32() f32(1) f32(3) f32(2,1) f32(1,3) f32(2,3) f16(3) f64(3) i64(3)
  raises: f32(2) f32(4) f32(3,2) f32(1,2,3) f32(0) b(3) [1.,1.,1.]
  raises: 2.0
PAIRED(_,reduction='none')
  f32(...): f32(),f32() f32(),f32(1) f32(),f32(2,3) f32(1),f32(3) f32(3),f32() f32(3),f32(1) f32(3),f32(1,3)
    f32(3),f32(2,3) f32(2,3),f32(2,3) f32(2,3),f32(3) f32(2,3),f32(2,1) f32(2,3),f32(1,3) f32(2,3),f32()
    f32(2,3),f32(4,2,3) f32(2,1),f32(2) f32(2,1),f32(2,3) f32(0,3),f32(0,3) f32(0),f32(0) f32(2,0),f32(2,0)
    f32(2,3,4),f32(2,1,4)
  raises: f32(3),f32(2) f32(3),f32(0) f32(2,3),f32(2) f32(2,3),f32(3,2) f32(0,3),f32(2,3) f32(2,3,4),f32(2,4)
gaussian_nll_loss(_,1.0,reduction='none')
  f32(...): f32(),f32() f32(),f32(1) f32(),f32(2,3) f32(1),f32(3) f32(3),f32() f32(3),f32(1) f32(3),f32(1,3)
    f32(3),f32(2,3) f32(2,3),f32(2,3) f32(2,3),f32(3) f32(2,3),f32(2,1) f32(2,3),f32(1,3) f32(2,3),f32()
    f32(2,3),f32(4,2,3) f32(2,1),f32(2) f32(2,1),f32(2,3) f32(0,3),f32(0,3) f32(0),f32(0) f32(2,0),f32(2,0)
    f32(2,3,4),f32(2,1,4)
  raises: f32(3),f32(2) f32(3),f32(0) f32(2,3),f32(2) f32(2,3),f32(3,2) f32(0,3),f32(2,3) f32(2,3,4),f32(2,4)
soft_margin_loss(_,reduction='none')
  f32(...): f32(),f32() f32(3),f32() f32(3),f32(1) f32(2,3),f32(2,3) f32(2,3),f32(3) f32(2,3),f32(2,1)
    f32(2,3),f32(1,3) f32(2,3),f32() f32(0,3),f32(0,3) f32(0),f32(0) f32(2,0),f32(2,0) f32(2,3,4),f32(2,1,4)
  raises: f32(),f32(1) f32(),f32(2,3) f32(1),f32(3) f32(3),f32(2) f32(3),f32(1,3) f32(3),f32(2,3) f32(3),f32(0)
    f32(2,3),f32(2) f32(2,3),f32(3,2) f32(2,3),f32(4,2,3) f32(2,1),f32(2) f32(2,1),f32(2,3) f32(0,3),f32(2,3)
    f32(2,3,4),f32(2,4)
multilabel_soft_margin_loss(_,reduction='none')
  f32(): f32(3),f32()
  f32(3): f32(3),f32(1,3) f32(1),f32(2,3)
  f32(2): f32(2,3),f32(2,3) f32(2,3),f32(3) f32(2,3),f32() f32(2,1),f32(2,3) f32(2,0),f32(2,0)
  f32(1,3): f32(2,3),f32(1,2,3)
  f32(2,3): f32(2,3,4),f32(2,1,4)
  raises: f32(),f32() f32(3),f32(2) f32(2,3),f32(2) f32(2,3),f32(3,2) f32(2,3,4),f32(2,4)
kl_div(_,reduction='batchmean')
  f32(): f32(),f32() f32(),f32(2) f32(2),f32() f32(2,3),f32(3) f32(0,3),f32(0,3) f32(2,3),f32(4,2,3)
  raises: f32(2,3),f32(3,2)
mse_loss|l1_loss|smooth_l1_loss(_)
  f64(): f32(3),f64() f64(),f32(3) f32(),f64()
kl_div|poisson_nll_loss(_)
  f32(): f32(3),f64() f64(),f32(3)
  f64(): f32(),f64()
poisson_nll_loss(_)
  f64(): i64(3),f64()
hinge_embedding_loss(GOOD,margin=_)
  f32(): -1.0 nan 2
  raises: None 'a'
poisson_nll_loss(GOOD,_)
  f32(): eps=-1.0 eps=1 log_input=False full=True
  raises: eps=None eps='a'
poisson_nll_loss|kl_div(_)
  f32() by value: f32([-1.0,0.0]),f32([-2.0,nan])
multilabel_soft_margin_loss(f32(2,3),f32(2,3),_,reduction='none')
  f32(2): f32() f32(1) f32(3) f32(2,1) f32(1,3) f32(2,3) f16(3) f64() i64(3) b(3)
  f32(4,3): f32(4,2,3)
  raises: f32(2) f32(4) f32(3,2)
multilabel_soft_margin_loss(_)
  f32(): f32(3),f32(3),f32(2,3) f32(2,1),f32(2,1),f32(4) f32(3),f64() f32(2,3),1.0 f32(2,3),f32(2,3),2.0
WEIGHTED(f32(2,3),f32(2,3),weight=_)
  f32(): f32(2,3) f16(2,3) i64(2,3) b(2,3)
  f64(): f64(2,3)
  raises: f32() f32(1) f32(3) f32(2,1) f32(1,3) f32(3,2) f32(1,2,3) [[1.]] 2.0
WEIGHTED(_)
  f32(): f32(3),f32(3),weight=f32(3) f32(3),f32(2,3),weight=f32(3) f32(2,3),f32(3),weight=f32(2,3)
    f32(),f32(),weight=f32() f32(0,3),f32(0,3),weight=f32(0,3)
  f16(): f16(3),f16(3),weight=b(3)
  raises: f32(3),f32(2,3),weight=f32(2,3) f32(2,3),f32(3),weight=f32(3) f32(),f32(3),weight=f32(3)
    f32(3),f32(2),weight=f32(3) b(3),f32(3),weight=f32(3)
mse_loss|l1_loss(_)
  f32(): f16(3),f32(3),weight=f16(3) f16(3),f16(3),weight=bf16(3) i64(3),f32(3),weight=f32(3)
    f32(3),i64(3),weight=f32(3)
  f64(): f32(3),f64(3),weight=f16(3)
  raises: f32(3),b(3),weight=f32(3)
huber_loss(_)
  f16(): f16(3),f32(3),weight=f16(3)
  f32(): f32(3),f64(3),weight=f16(3) f32(3),b(3),weight=f32(3) f16(3),f16(3),weight=bf16(3) f32(3),i64(3),weight=f32(3)
  raises: i64(3),f32(3),weight=f32(3)
smooth_l1_loss(GOOD,beta=_)
  f32(): 0.0 0 -0.0 inf 2 True
  raises: -1.0 -0.1 nan None 'a'
huber_loss(GOOD,delta=_)
  f32(): inf 2
  f32(): True
  raises: -1.0 0.0 0 -0.0 nan None 'a' -1.0,weight=f32(2,3) 0.0,weight=f32(2,3)
multi_margin_loss(_,reduction='none')
  f32(): f32(),i64() f32(1),i64() f32(3),i64() f32(1,3),i64()
  f32(1): f32(),i64(1) f32(1),i64(1) f32(3),i64(1) f32(1,3),i64(1)
  f32(2): f32(2,3),i64(2) f32(2,1),i64(2)
  f32(0): f32(0,3),i64(0)
  raises: f32(),i64(2) f32(3),i64(3) f32(3),i64(0) f32(3),i64(1,1) f32(1,3),i64(2) f32(2,3),i64() f32(2,3),i64(1)
    f32(2,3),i64(3) f32(2,3),i64(2,1) f32(2,3),i64(1,2) f32(2,3),i64(2,3) f32(2,3,4),i64(2,4) f32(2,3,4),i64(2)
    f32(2,3,1),i64(2,1) f32(2,0),i64(2) f32(0),i64() f32(0),i64(0) f32(0,0),i64(0)
multi_margin_loss(f32(2,3),_)
  wider f32(): u8(2) i8(2) i16(2) i32(2) u16(2) u32(2) u64(2)
  raises: b(2) f32(2)
multi_margin_loss(_)
  f64(): f64(2,3),i64(2) f64(2,3),i64(2),weight=f64(3)
  f32(): f32(3),i64(),weight=f32(3) f32(1),i64(),weight=f32(1) f32(0,3),i64(0),weight=f32(3)
  f32() by value: f32(2,3),i64([2,2])
  wider f16(): f16(2,3),i64(2) f16(2,3),i64(2),weight=f16(3)
  wider bf16(): bf16(2,3),i64(2)
  raises: i64(2,3),i64(2) b(2,3),i64(2) f64(2,3),i64(2),weight=f32(3)
  raises by value: f32(2,3),i64([0,3]) f32(2,3),i64([0,-1]) f32(2,3),i64([0,-100]) f32(3),i64([3]) f32(1),i64([1])
    f32(2,3),i64([0,3]),reduction='sum' f32(2,3),i64([0,3]),p=2
multi_margin_loss(f32(2,3),i64(2),weight=_)
  f32(): f32(3)
  raises: f32() f32(1) f32(2) f32(4) f32(0) f32(1,3) f32(3,1) f64(3) f16(3) i64(3) b(3) [1.,1.,1.] 2.0
multi_margin_loss(GOOD,_)
  f32(): p=1 p=2 p=1.0 p=2.0 p=True margin=-1.0 margin=0 margin=nan margin=2
  raises: p=3 p=0 p=-1 p=1.5 p='1' p=None margin=None margin='a'
multilabel_margin_loss(_,reduction='none')
  f32(): f32(),i64() f32(),i64(1) f32(1),i64() f32(1),i64(1) f32(3),i64(3)
  f32(1): f32(1,3),i64(1,3)
  f32(2): f32(2,3),i64(2,3) f32(2,1),i64(2,1)
  f32(0): f32(0,3),i64(0,3)
  raises: f32(),i64(1,1) f32(1,1),i64() f32(1,1),i64(1) f32(3),i64() f32(3),i64(1) f32(3),i64(2) f32(3),i64(1,3)
    f32(1,3),i64(3) f32(2,3),i64(2) f32(2,3),i64(2,1) f32(2,3),i64(3,2) f32(2,3),i64(1,3) f32(2,3),i64(3)
    f32(2,3),i64(2,4) f32(2,3,4),i64(2,3,4) f32(2,0),i64(2,0) f32(0),i64(0)
multilabel_margin_loss(f32(2,3),_)
  wider f32(): u8(2,3) i8(2,3) i16(2,3) i32(2,3) u16(2,3) u32(2,3) u64(2,3)
  raises: b(2,3) f32(2,3)
multilabel_margin_loss(_)
  f64(): f64(2,3),i64(2,3)
  f32() by value: f32(2,3),i64([[-1,-1,-1],[0,-1,2]]) f32(2,3),i64([[0,0,0],[2,2,2]]) f32(2,3),i64([[0,-1,1],[2,-1,2]])
    f32(3),i64([-1,0,0])
  wider f16(): f16(2,3),i64(2,3)
  wider bf16(): bf16(2,3),i64(2,3)
  raises: i64(2,3),i64(2,3) b(2,3),i64(2,3)
  raises by value: f32(2,3),i64([[0,3,1],[0,1,2]]) f32(2,3),i64([[0,-1,3],[0,1,2]]) f32(2,3),i64([[0,-1,-2],[0,1,2]])
    f32(2,3),i64([[-2,-1,-1],[0,1,2]]) f32(3),i64([0,3,-1])
gaussian_nll_loss(f32(2,3),f32(2,3),_)
  f32(): 0.0 inf nan -0.0 f32(2) f32(1,3) f32(2,1) f32(2,3)
  raises: -1.0 1 0 True 'a' [1.0] f32() f32(1) f32(3) f32(0) f32(3,2) f32(1,1) f32(3,1) f32(1,2,3) f32(2,3,1) f32(6)
  raises: None
gaussian_nll_loss(f32(2,3,4),f32(2,3,4),_)
  f32(): f32(2,3) f32(2,1,4) f32(1,3,4) f32(2,3,1)
  raises: f32(1,1,4) f32(3,4) f32(4)
gaussian_nll_loss(_)
  f32(): f32(),f32(),f32() f32(3),f32(3),f32() f32(3),f32(3),f32(1) f32(2,2),f32(2,2),f32(2) f32(2,1),f32(2,1),f32(2)
    f32(1,3),f32(1,3),f32(1) f32(0,3),f32(0,3),f32(0) f32(0,3),f32(0,3),f32(1,3) f32(2,0),f32(2,0),f32(2)
    f32(3),f32(3),f16(3) f16(3),f16(3),f32(3) f32(3),f64(),f32(3)
  f64(): f32(3),f32(3),f64(3) f32(3),f64(3),f32(3)
  f16(): i64(3),i64(3),f16(3)
  f64(): f32(3),f32(3),f64()
  f32() by value: f32(2),f32(2),f32([0.0,0.0]) f32(2),f32(2),f32([nan,1.0]) f32(2),f32(2),f32([1.0,inf])
  raises: f32(),f32(),f32(1) f32(3),f32(3),f32(2) f32(1,3),f32(1,3),f32(3) f32(0,3),f32(0,3),f32(3)
    f32(3),f32(3),i64(3) f32(3),f32(3),b(3) i64(3),i64(3),i64(3)
  raises by value: f32(2),f32(2),f32([1.0,-1.0]) f32(2),f32(2),f32([-0.001,nan]) f32(2),f32(2),f32([-1.0])
    f32(2),f32(2),f32([1.0,-1.0]),reduction='sum'
gaussian_nll_loss(_,reduction='none')
  f32(2,3): f32(2,3),f32(3),f32(2,1) f32(2,3),f32(),f32(2) f32(3),f32(2,3),f32(3)
  f32(4,2,3): f32(2,3),f32(4,2,3),f32(2,3)
  raises: f32(2,3),f32(2),f32(2,3) f32(2,3),f32(3,2),f32(2,3) f32(3),f32(2,3),f32(2,3)
gaussian_nll_loss(GOOD,eps=_)
  f32(): 0.0 -1.0 nan 1
  raises: None
NAMED(GOOD,reduction=_)
  f32(): 'sum' 'elementwise_mean'
  raises: 'batchmean' 'avg' 'Mean' '' None 0
kl_div(GOOD,reduction=_)
  f32(): 'sum' 'elementwise_mean' 'batchmean'
  raises: 'avg' 'Mean' '' None 0
COMPARED(GOOD,reduction=_)
  f32(): 'sum'
  raises: 'elementwise_mean' 'batchmean' 'avg' 'Mean' '' None 0
WEIGHTED(GOOD,weight=f32(2,3),reduction=_)
  f32(): 'sum'
  raises: 'elementwise_mean' 'batchmean' 'avg' None
IDS|multi_margin_loss(_)
  raises: [[1.]],i64(1) f32(2,3),[0,1] None,i64(2) f32(2,3),None
  raises: 1.0,i64() f32(3),0
BINARY|soft_margin_loss|PAIRED(_)
  raises: [0.5],f32(1) f32(1),[0.5]
  raises: 0.5,f32() f32(),0.5 None,f32(3) f32(3),None
SOFT(_)
  f32(...): f32(2,3),0 f32(2,3),1 f32(2,3),-1 f32(2,3),-2 f32(2,3),None f32(2,3),dim=1 f32(),0 f32(),-1 f32(),None
    f32(3),0 f32(2,3,4),2 f32(2,3,4),None f32(2,3,4,5),-4 f32(2,0),1 f32(0,3),1 f32(0),0
  f16(...): f16(2,3),1
  bf16(...): bf16(2,3),1
  f64(...): f64(2,3),1
  raises: f32(2,3),2 f32(2,3),-3 f32(2,3),True f32(2,3),1.0 f32(2,3),'1' f32(2,3),[1] f32(),1 f32(),-2 f32(3),1
    f32(3),-2 f32(2,3,4),3 f32(2,3,4),-4 [1.],0 None,0 i64(2,3),1 u8(2,3),1 b(2,3),1
  raises: 1.0,0
SOFT(f32(2,3),1,dtype=_)
  f16(...): float16
  bf16(...): bfloat16
  f32(...): float32
  f64(...): float64
  raises: int32 bool
SOFT(_,1,dtype=float32)
  f32(...): f16(2,3) i64(2,3) i8(2,3)
sigmoid(_)
  f16(...): f16(3)
  bf16(...): bf16(3)
  f64(...): f64(3)
  f32(...): i8(3) i64(3) u8(3) b(3) f32() f32(0) f32(2,3,4)
  raises: [1.] None
  raises: 1.0
logsigmoid|softplus(_)
  f16(...): f16(3)
  bf16(...): bf16(3)
  f64(...): f64(3)
  f32(...): f32() f32(0) f32(2,3,4)
  raises: i8(3) i64(3) u8(3) b(3) [1.] None
  raises: 1.0
softmax|log_softmax(b(3),0,dtype=_)
  f32(...): float32
softmin(b(3),0,dtype=_)
  raises: float32
softplus(f32(3),_)
  f32(...): 2 2.0 0 -1.0 nan inf True 1,0 1,-5.0 1,inf beta=2,threshold=3
  raises: None 'a' 1,None
one_hot(_)
  i64(3,3): i64(3),3
  i64(3,1): i64(3),1
  i64(3): i64(),3
  i64(0,3): i64(0),3
  i64(2,2) by value: i64([0,1])
  i64(3,3) by value: i64([0,2,1]),-1
  wider i64(3,3): i8(3),3 i16(3),3 i32(3),3 u8(3),3 u16(3),3 u32(3),3 u64(3),3
  raises: i64(3),True i64(3),2.0 i64(3),None i64(3),'a' i64(3),0 i64(3),-2 i64(0),0 i64(0),-1 i64(0),-5 i64(0) f32(3),3
    b(3),3 [0,1],3
  raises: 1,3
  raises by value: i64([0,3]),3 i64([0,-1]),3 i64([0,-1])
MultiMarginLoss(_)
  built: 1 2 1.0 True weight=f32(3) weight=f32(0) reduction='avg'
  raises: 3 0 p='1' p=None p=1.5 weight=f32() weight=f32(1,3) weight=2.0
HuberLoss(_)
  built: delta=1 delta=2.0 delta=True delta=-1.0 delta=0.0 delta=nan reduction='avg'
  raises: delta='1' delta=None delta=f32() size_average=True
LinearCrossEntropyLoss(4,3,_)
  built: bias=True out_features=() out_features=(2,) out_features=(2,3) out_features=[2] weight=f32(3)
    label_smoothing=0 label_smoothing=1 label_smoothing=nan reduction='avg' ignore_index=-1 dtype=float16
  raises: out_features=2 out_features=(-1,) weight=f32() weight=f32(4) weight=f32(1,3) weight=f32(0) weight=[1.,1.,1.]
    label_smoothing=-0.1 label_smoothing=1.2 label_smoothing=None dtype=int32 (2,)
LinearCrossEntropyLoss(_)
  built: 4,3 4,1
  raises: -1,3 4,-1 4.0,3 4,3.0 '4',3
LinearCrossEntropyOptions(_)
  built: acc_policy='auto' acc_policy='accurate' acc_policy='balanced' acc_policy='compact'
    chunking_method='aspect_ratio' chunking_method='aspect_ratio:2' chunking_method=None batch_chunk_size=2
    acc_dtype=float32 acc_dtype=float16
  raises: acc_policy='x' chunking_method='aspect_ratio:0' chunking_method='x' batch_chunk_size=0 batch_chunk_size=-1
    batch_chunk_size=1.0 acc_dtype=int32
CrossEntropyLoss|NLLLoss|BCELoss|BCEWithLogitsLoss|MultiLabelSoftMarginLoss(weight=_)
  built: f32(3) f32() f32(2,3)
  raises: [1.,1.] 2.0
BCEWithLogitsLoss(pos_weight=_)
  built: f32(3) f32()
  raises: [1.] 2.0
GaussianNLLLoss(_)
  built: full=True eps=-1.0
  raises: True size_average=True
CLASSES(reduction=_)
  built: 'avg' 'batchmean' 'elementwise_mean' None
"""
