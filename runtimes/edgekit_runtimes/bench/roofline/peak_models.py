"""Artifacts that keep a machine's multipliers busy: a few wide 1 x 1 convolutions.

Made by ``scripts/make_peak_models.py``; a device has no library that writes them.
"""

from __future__ import annotations

import base64
import zlib

MACS = {"fp32": 136314880, "int8": 272629760}
"""Multiply-accumulate operations of one run."""

_PACKED = {
    ("tflite", "fp32"): (
        b"c-rmQPiPcp7{~Ev|CnqxW0HnNgoY|rp$gLc*+iq6Iq24d<ko;v+Y+djLKP2M+oD3+rd||ML2?ORtP0*lB=nFOB;?RSl~j;I^&l84"
        b"r65=p3N|}FGy5hPcV6h-d<UN0oqeC*`|fAw-95}|5gFPw*dx*+C212!3i?i7&qU8eF0RkW=%$S1^mU`w4|;y0l#%`I85wF9sc2I<"
        b"PKaFiyBbE%YvuosTc$T!<idM>-o_8d+{+U)+yA@r#P7fUvw!XU;o!}8KMD>#IvzZFu`wwAzRr7aX~K1jd%VN#x$QdUj!l2zX}>$Z"
        b"^R&CS|N6k#^z(s#-~YtB^VMJe(1Q)0zUS_CzK!Pbdq3Xh?HGPIuxs*2Fut=n&h70ld(qrFXYk80&s%r*>mZuvx3~8N!w+YDU2{sy"
        b"zxnH+uWJPx8omiGPgDYtk*LqzF??Vk`b?8g=l##l9&!h_G<n*mxgV!=UGK|aji;aAn|ylGZ~yLwyXO1PV?)d4ZVxkN%$PA_#*7&="
        b"X3Ur|V_t6NKVF!70a@W#=EtA&W-myF`$Cv8W5$dbGiJ<~F=NJz88c?gm@#9<j2Sa#%$PA_#*7&=X3Ur|W5$dbGiJ<~F=NJz88c?g"
        b"m@#9<j2Sa#%$PA_#*7&=X3Ur|W5$dbGiJ<~F=NJz88c?gm@#9<j2Sa#%$PA_#*7&=X3Ur|W5$dbGiJ<~F=NJz88c?gm@#9<j2Sa#"
        b"%$PA_#*7&=X3Ur|W5$dbGiJ<~F=NJz88c?gm@#9<j2Sa#%$PA_#*7&=X3Ur|W5$dbGiJ<~F=NJz88c?gm@#9<j2Sa#%$PA_#*7&="
        b"X3Ur|W5$dbGiJ<~F=NJz88c?gm@#9<j2Sa#%$PA_#*7&=X3Ur|W5$dbGiJ<~F=NJz88c?gm@#9<j2Sa#%$PA_#*8^O|1%$kdC?;)"
        b"9LxS_kb>m(Q6%0IZ6f?eF=NJz88c?gm@#9<j2ScL*Wa9%e0(n;Q@b4?j+FG-iSH9Q=Dn$`$PKL-t)iaq*XL4nuAxz_idJ50M#o0A"
        b"D(3#eTh%aZtKE3Wtk#DPt?BtN%$W6}r-gNMS}V0$v|6=3uw<*2>`Ie$%$h5-#x2=x)pXV|+2%y{wk3Pal5IBGVj|lTrnA>9*`mod"
        b"C9=CM*~gY_lgSnm*;AJ6rZAl?m~3MrJ8j8+YRNX5Y(pX&U9D1l{T%&1^6|Ax`7Lubn7MLwbFHeItHWg0>%%+o%c73A#(T49=1k7J"
        b"FsGRJvx$9e`s59*Ssgf+t?lEjS_Q2+ZTLy+jMlJLS*xIRPy4T$eLbYrX+HCa?!`i44;}65Tl^iZH5HBD*FMLXmwJ0;;d)55HooGO"
        b"@p3#@Az>WRdX`$VC$(nO*HNwS>$dh)Qhi<4zJsa0PHW$}L|^pXAMF=w-&B3yR(s!Eecu*)pA**g_1XIlhPCfHpX}{j`hL%t@mzAe"
        b"Y_50RwHT>iv&X*XeKTh^+1tG|j}z~BS^U3s%p8loUFr2}>pHdlV{)&2mQJzm#ijpvC;tCh$eQ0w?j;Wa7p?"
    ),
    ("onnx", "fp32"): (
        b"c-rmQ&ubKC9Khl1W@*P!%d#zAR9qAf21<8hez>|bhmCqzyj7@JTcRQqf=!{+tcb8Go;(DD<Py9n3SK4Tlo?9sp@J>#q4eM}gwSJ="
        b"LZJ%28&}v%|AF>l_q}}Po$osjbDQY>qd%{e;!0fX)Z*e?ty1jN_m`$-zrM27>Y>#`8y#q){dRbu9qzZWfi~7};{$EH-zEmyM88cA"
        b"w8?%uGSH6nTch7T46PAbqcYs7*WSiT>6=UEXGRvPQMV99Q6Van3$4IvcdHLhOr(d-%_onSemM5($)8zc`N!<({n>o?Ctu{3H?QTJ"
        b"{~XHW-w&kgkCu`o{w$rX3?B>ElKHjo(y%{SoVt^oX)HJA*Zyk${prQ@x6U8g>GgwYXi0m=&EA}B{L7<hYkH%3a^>56accY4eP<eD"
        b"X>WFznLoRdrUzbJ&3kix-T!$$z41#H&Rh*E`|0_qES!}eeD6m7c<FdPG}P_wOIp*Hn!RUQdHFi~>h9&_)a14_><jljTn*=@bNRkB"
        b"Jb$|K@_JUe^?kDM_RN;ygO5j3W@ct)W@ct)W@ct)X6FB!dE{QV)cYzB{_j2u)Z5)|$-87`W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)"
        b"W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)"
        b"W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)"
        b"W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@ct)W@cvY%^6v!Mp4u)MB!I1"
        b"w2E_$cDL%qFf%hVGcz+YGcz+YGc*79&1d(-#ZIlVEB+`dRLXHNDufk<Rqd?{d*k6w{a-J)O7T#6=Nlwlo=y"
    ),
    ("tflite", "int8"): (
        b"c-rmTPiP!f7y$4$*=@2()=j8E0<97>lp+C>G-@Px(I6tBDio|(Z$<FbgE<HmM6D&F2a$>%OYzu(c=1w1isHd0B6yG-1Phu=sbaw%"
        b"0$tzCzGSz_(Bz;8yT1><oj<$3Z{E%f!@PYvqalPNPc0k@p%F&HaHxk`TvLrpAufgR*=QD)p3Oof&iBRqFfN}Q&cg9}7LL?In2#Ty"
        b"DMSe8{<zu9r(<E~SV^DFH}~QLm2ZD||IE7=o;&brw(s@1`v-?keE0msTfe>3cyE60=!H*SK0WyH^7_@arMJ(%Gtqb8(!Eb!`TNbo"
        b"Z~XeuYX@F{VHk#C_<xC4Z=`#HY7jznas0lXt_2~}FMwefhG7_nVHk#C7=~dOhG7_nVHk#C7=~dOhG7_nVHk#C7=~dOhG7_nVHk#C"
        b"7=~dOhG7_nVHk#C7=~dOhG7_nVHk#C7=~dOhG7_nVHk#C7=~dOhG7_nVHk#C7=~dOhG7_nVHk#C7=~dOhG7_nVHk#C7=~dOhG7_n"
        b"VHk#C7=~dOhG7_nVHk#C7=~dOhG7_nVHk#C7=~dOhG7_nVHk#C7=~dOhG7_nVHk#C7=~dOhG7_nVHk!B{MUN3Sq(9Y7a>IVMsKLa"
        b"3qkM3<)9XVD<urWFbsDeu7+xHFObC?j#&>Qaau3#6Y6Q*#rWpeF~7+|aqn<EPDk?PIDabUe7c`#G@H%g){RCs8ejIu{NiS_nWg&q"
        b"BrCQNLM3K@%z>DLF`p^1*Gg=EvbD6$Juy$0*aw^2Z7tcp4tuG@zEWcQlI`uV@f*jz6^i{e7}qw^{<`J+m(=P_wJKX`-Ls|E{$$4E"
        b"%fVuHAih6T9Gihuv$O6-&5+jjq-nkVxo}s^vorCS#e#qC3*pn4PY=a*M0h@eqcN*7KTpMvr8b`XzO|nwTV?w5>6y4L-=`xT^+U(@"
        b"moG0op0{UlYI^e=8%vqH!#_8hxm`;8ByVzlK3z?97t-hcjmYbae);3<?XuO@sjzXbT<d7xp7g!*_I+^qziHozy_LD!WvhLY#lEa{"
        b"9{>3A#B%HSOr&<^)0yQ~JBPO%pN(UapC5~lg>A<sU-+n`-l^Txn=P+*rKH|ZyQ%kRdA;eC?dRk8%FgFwQS*`Vn!l{Jj`zX(=FcTP"
        b"<8l6Es#~v>6c$1VAw>5?w)6d@l=9BaqA&4qyAO8XTD$*{`r-X~|KZ}Q{(}%g2q9Yc0XzNPE2X@1v*<s}q_KwV*72OZYum>+s%yI("
        b"-#Ao0zVX%dcK@WO#ftHbV{7^+LI@#*2*x+0G`<lQr`vs!{6C7LvG;Lz`hRF6^+obNMCvy5kHz`(*IWIGn*M|kLI}~-eF?w!O4;RO"
        b"9aG!KI$F=qG>WIrhKl9(vrn_BPmxdS#ZydS^SQJgpBtGBrOzC-pL1((Z{vBi^q;NDKaXsEcK"
    ),
    ("onnx", "int8"): (
        b"c-rmOKWh|07{KAo-a>{w)a4Kx6(qtHXTV&NOJT6NSS>+J<v%PUqzFPz3?xS^TopyJ3lUqvI^RJAu`&1=6vW2b#>PE^0dw335FgkV"
        b"c4mH0Gu6cL3vb_~*|{v~Pi0{}3tL&TS^aHfp|`(oB>nb8eQ9xZZDsl1LT_#3cicXR+lS)m;dpvvJTn~6jErZ8<JpmMXE^R0#GOO&"
        b"++T4cy}Pn}r&Z5GH>?-w-p9p@t(Yg>uvLU|e|w`ydyU$BwO#9mUJ=Gx+j%UL7-NW`+N<ucDD&%QYwth3*m<&hrMVhT_U9++$9f-@"
        b"CLeyidGz_E`D?qcZauBP-23_c+p|ZnA5V@q-<@9g^5enf`=8IRH?P7l48t(|PvX{2nGRkB)%WLF&@Rd{bzLwF!!QiPFbu;m48t%C"
        b"!!QiPFbu;m48t%C!!QiPFbu;m48t%C!!QiPFbu;m48t%C!!QiPFbu;m48t%C!!QiPFbu;m48t%C!!QiPFbu;m48t%C!!QiPFbu;m"
        b"48t%C!!QiPFbu;m48t%C!!QiPFbu;m48t%C!!QiPFbu;m48t%C!!QiPFbu;m48t%C!!QiPFbu;m48t%C!!QiPFbu;m48t%C!!QiP"
        b"Fbu;m48t%C!!QiPFbu=+0JpaD7-N~l5JO(;CYzn2%v}!*!!Qj0fB43!Ea^`*PGrYp(#W&waZpXH=FDJj4^HPsop#e~EI;xK4vyI{"
    ),
}


def peak_model(form: str, dtype: str) -> bytes:
    """Return the bytes of an artifact.

    Args:
        form: ``tflite`` or ``onnx``.
        dtype: ``fp32`` or ``int8``.
    """
    return zlib.decompress(base64.b85decode(_PACKED[form, dtype]))
